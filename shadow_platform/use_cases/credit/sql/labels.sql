-- Default reported within 90 days of the request. Known when reported, or after 90 days without.
-- A rejected application has no loan that could default, and so no label.
WITH loans AS (
    SELECT a.application_id, r.subject_id, r.requested_at, r.requested_at + INTERVAL 90 DAY AS matured_at
    FROM requests AS r
    JOIN applications AS a
        ON a.applicant_id = r.subject_id
        AND a.received_at = r.requested_at
    SEMI JOIN decisions AS d
        ON d.application_id = a.application_id
        AND d.decision = 'approved'
        AND d.received_at <= r.requested_at + INTERVAL 90 DAY
),
first_defaults AS (
    SELECT application_id, min(received_at) AS received_at, arg_min(event_at, received_at) AS event_at
    FROM defaults
    GROUP BY ALL
),
answers AS (
    SELECT
        l.subject_id,
        l.requested_at,
        f.received_at IS NOT NULL AS label,
        coalesce(f.event_at, l.matured_at) AS event_at,
        coalesce(f.received_at, l.matured_at) AS known_at
    FROM loans AS l
    LEFT JOIN first_defaults AS f
        ON f.application_id = l.application_id
        AND f.received_at <= l.matured_at
)
SELECT subject_id, requested_at, label, event_at, known_at
FROM answers
WHERE known_at <= $as_of
ORDER BY known_at, subject_id
