-- One request a week for every customer who is subscribed as far as is known, on a weekday and at a time of day that
-- follow from the id. The first one comes once the customer was known at a day's start, when feature rows are made.
WITH customers AS (
    SELECT customer_id, min(received_at) AS known_at, md5_number_lower(customer_id) AS number
    FROM subscriptions
    GROUP BY customer_id
),
cancelled AS (
    SELECT customer_id, min(received_at) AS ended_at
    FROM cancellations
    GROUP BY customer_id
),
days AS (
    SELECT unnest(range(epoch_us($start) // 86400000000, epoch_us($end) // 86400000000 + 1)) AS day_no
),
weekly AS (
    SELECT
        c.customer_id,
        to_timestamp(d.day_no * 86400) AS day_at,
        to_timestamp(d.day_no * 86400 + (c.number // 7 % 86400)::BIGINT) AS requested_at
    FROM customers AS c
    JOIN days AS d ON d.day_no % 7 = c.number % 7 AND to_timestamp(d.day_no * 86400) >= c.known_at
)
SELECT customer_id AS subject_id, customer_id, requested_at
FROM weekly
LEFT JOIN cancelled USING (customer_id)
WHERE requested_at >= $start
  AND requested_at < $end
  AND (ended_at IS NULL OR ended_at > requested_at)
ORDER BY requested_at, subject_id
