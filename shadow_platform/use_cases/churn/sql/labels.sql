-- Cancelled within 30 days. Known when the cancellation comes in; without one, 30 days after the request.
WITH answers AS (
    SELECT
        r.subject_id,
        r.requested_at,
        c.received_at IS NOT NULL AS label,
        coalesce(c.event_at, r.requested_at + INTERVAL 720 HOUR) AS event_at,
        coalesce(c.received_at, r.requested_at + INTERVAL 720 HOUR) AS known_at
    FROM requests AS r
    LEFT JOIN (
        SELECT customer_id, min(received_at) AS received_at, arg_min(event_at, received_at) AS event_at
        FROM cancellations
        GROUP BY customer_id
    ) AS c
        ON c.customer_id = r.subject_id
        AND c.received_at > r.requested_at
        AND c.received_at <= r.requested_at + INTERVAL 720 HOUR
)
SELECT subject_id, requested_at, label, event_at, known_at
FROM answers
WHERE known_at <= $as_of
ORDER BY known_at, subject_id
