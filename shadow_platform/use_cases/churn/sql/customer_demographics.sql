-- One row a customer and day on which a subscription event was received, stamped at the day's end: the latest that
-- happened of those received by then. A message that comes late does not undo a later one: bills come every 30 days, and
-- what was received in the last 40 is looked at.
WITH days AS (
    SELECT
        customer_id,
        (epoch_us(received_at) + 86399999999) // 86400000000 AS stamp_no,
        last(subscriptions ORDER BY event_at, received_at, event_id) AS s
    FROM subscriptions
    WHERE received_at > $start - INTERVAL 40 DAY
      AND received_at <= $end
    GROUP BY ALL
),
latest AS (
    SELECT
        customer_id,
        to_timestamp(stamp_no * 86400) AS event_at,
        last(s ORDER BY s.event_at, s.received_at, s.event_id) OVER (
            PARTITION BY customer_id ORDER BY stamp_no RANGE BETWEEN 39 PRECEDING AND CURRENT ROW
        ) AS s
    FROM days
)
SELECT
    customer_id,
    event_at,
    event_at AS created_at,
    s.age_band,
    s.region,
    s.plan_type,
    s.contract_type,
    s.payment_method,
    s.acquisition_channel
FROM latest
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, customer_id
