-- Default reported within 90 days of the request. Known when reported, or after 90 days without.
-- A request is about the applicant's application that was received nearest to it: up to a day before, because a score may
-- be waited for, or up to 5 minutes after, because clocks differ.
-- A rejected application has no loan that could default, and so no label.
WITH applied AS (
    SELECT
        r.subject_id,
        r.requested_at,
        r.requested_at + INTERVAL 90 DAY AS matured_at,
        first(a.application_id ORDER BY abs(epoch_us(a.received_at) - epoch_us(r.requested_at)), a.application_id)
            AS application_id
    FROM requests AS r
    JOIN applications AS a
        ON a.applicant_id = r.subject_id
        AND a.received_at >= r.requested_at - INTERVAL 1 DAY
        AND a.received_at <= r.requested_at + INTERVAL 5 MINUTE
    GROUP BY r.subject_id, r.requested_at
),
loans AS (
    SELECT *
    FROM applied AS l
    SEMI JOIN decisions AS d
        ON d.application_id = l.application_id
        AND d.decision = 'approved'
        AND d.received_at <= l.matured_at
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
