-- One row a user and UTC day with a payment, stamped at the midnight that ends it: what was usual in 30 days until then.
-- Sums are of whole cents, so that they are exact in any order.
WITH daily AS (
    SELECT
        user_id,
        epoch_us(received_at) // 86400000000 + 1 AS stamp_no,
        country,
        device,
        count(*) AS payments,
        sum(cents) AS cents,
        sum(cents * cents) AS square
    FROM (SELECT *, round(transaction_amount * 100)::BIGINT AS cents FROM transactions)
    WHERE received_at >= $start - INTERVAL 31 DAY
      AND received_at < $end
    GROUP BY ALL
),
active AS (
    SELECT DISTINCT user_id, stamp_no
    FROM daily
    WHERE to_timestamp(stamp_no * 86400) > $start
      AND to_timestamp(stamp_no * 86400) <= $end
),
usual AS (
    SELECT
        a.user_id,
        a.stamp_no,
        d.country,
        d.device,
        sum(d.payments) AS payments,
        sum(d.cents) AS cents,
        sum(d.square) AS square
    FROM active AS a
    JOIN daily AS d
        ON d.user_id = a.user_id
        AND d.stamp_no BETWEEN a.stamp_no - 29 AND a.stamp_no
    GROUP BY ALL
),
sums AS (
    SELECT
        user_id,
        stamp_no,
        sum(payments) AS n,
        sum(cents) AS cents,
        sum(square) AS square
    FROM usual
    GROUP BY ALL
),
countries AS (
    SELECT user_id, stamp_no, first(country ORDER BY n DESC, country) AS usual_country_30d
    FROM (SELECT user_id, stamp_no, country, sum(payments) AS n FROM usual WHERE country IS NOT NULL GROUP BY ALL)
    GROUP BY ALL
),
devices AS (
    SELECT user_id, stamp_no, first(device ORDER BY n DESC, device) AS usual_device_30d
    FROM (SELECT user_id, stamp_no, device, sum(payments) AS n FROM usual GROUP BY ALL)
    GROUP BY ALL
)
SELECT
    user_id,
    to_timestamp(stamp_no * 86400) AS event_at,
    event_at AS created_at,
    n::DOUBLE AS user_payments_30d,
    cents / n / 100 AS amount_mean_30d_usd,
    CASE WHEN n > 1 THEN sqrt((n * square - cents * cents) / (n * (n - 1))) / 100 END AS amount_std_30d_usd,
    usual_country_30d,
    usual_device_30d
FROM sums
LEFT JOIN countries USING (user_id, stamp_no)
JOIN devices USING (user_id, stamp_no)
ORDER BY event_at, user_id
