-- Late (over 15 minutes) or not arrived. Known on arrival; a flight still missing 24 hours after schedule is positive.
WITH answers AS (
    SELECT
        r.subject_id,
        r.requested_at,
        a.received_at IS NULL OR a.arrival_delay_min > 15 AS label,
        coalesce(a.event_at, r.requested_at + INTERVAL 24 HOUR) AS event_at,
        coalesce(a.received_at, r.requested_at + INTERVAL 24 HOUR) AS known_at
    FROM requests AS r
    LEFT JOIN arrivals AS a
        ON a.flight_id = r.subject_id
        AND a.received_at <= r.requested_at + INTERVAL 24 HOUR
)
SELECT subject_id, requested_at, label, event_at, known_at
FROM answers
WHERE known_at <= $as_of
ORDER BY known_at, subject_id
