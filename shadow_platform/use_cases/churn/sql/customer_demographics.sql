-- One row a customer and day on which a subscription event was received, stamped at the day's end.
WITH latest AS (
    SELECT
        customer_id,
        to_timestamp((epoch_us(received_at) + 86399999999) // 86400000000 * 86400) AS event_at,
        last(subscriptions ORDER BY event_at, received_at, event_id) AS s
    FROM subscriptions
    WHERE received_at > $start - INTERVAL 1 DAY
      AND received_at <= $end
    GROUP BY ALL
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
