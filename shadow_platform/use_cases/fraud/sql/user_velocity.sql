-- One row a user and 5-minute interval in which a payment came in, or left the last hour, day or week; stamped at the
-- interval's end. A payment received at the very end belongs to the next interval: a request must not read its own.
-- Sums are of whole cents, so that they are exact in any order.
WITH seen AS (
    SELECT
        user_id,
        epoch_us(received_at) // 300000000 + 1 AS stamp_no,
        received_at,
        round(transaction_amount * 100)::BIGINT AS cents,
        country,
        device,
        least(epoch(received_at - lag(received_at) OVER payments), 604800) AS gap_s
    FROM transactions
    WHERE received_at >= $start - INTERVAL 361 HOUR
      AND received_at < $end
    WINDOW payments AS (PARTITION BY user_id ORDER BY received_at, event_id)
),
changes AS (
    SELECT user_id, stamp_no, received_at, cents, country, device, coalesce(gap_s, 604800) AS gap_s
    FROM seen
    WHERE received_at >= $start - INTERVAL 169 HOUR
    UNION ALL
    SELECT user_id, stamp_no + passed, NULL, NULL, NULL, NULL, NULL
    FROM seen, (VALUES (12), (288), (2016)) AS windows (passed)
    WHERE received_at >= $start - INTERVAL 169 HOUR
),
rolling AS (
    SELECT DISTINCT
        user_id,
        to_timestamp(stamp_no * 300) AS event_at,
        (count(cents) OVER last_1h)::DOUBLE AS payments_1h,
        (count(cents) OVER last_24h)::DOUBLE AS payments_24h,
        (count(cents) OVER last_7d)::DOUBLE AS payments_7d,
        (count(cents) FILTER (cents < 500) OVER last_7d)::DOUBLE AS small_payments_7d,
        coalesce(sum(cents) OVER last_1h, 0) / 100 AS amount_sum_1h_usd,
        coalesce(sum(cents) OVER last_24h, 0) / 100 AS amount_sum_24h_usd,
        coalesce(sum(cents) OVER last_7d, 0) / 100 AS amount_sum_7d_usd,
        (count(DISTINCT country) OVER last_1h)::DOUBLE AS countries_1h,
        (count(DISTINCT country) OVER last_24h)::DOUBLE AS countries_24h,
        (count(DISTINCT country) OVER last_7d)::DOUBLE AS countries_7d,
        (count(DISTINCT device) OVER last_1h)::DOUBLE AS devices_1h,
        (count(DISTINCT device) OVER last_24h)::DOUBLE AS devices_24h,
        (count(DISTINCT device) OVER last_7d)::DOUBLE AS devices_7d,
        coalesce(arg_max(gap_s, received_at) OVER last_7d, 604800) AS seconds_between_payments
    FROM changes
    WINDOW
        last_1h AS (PARTITION BY user_id ORDER BY stamp_no RANGE BETWEEN 11 PRECEDING AND CURRENT ROW),
        last_24h AS (PARTITION BY user_id ORDER BY stamp_no RANGE BETWEEN 287 PRECEDING AND CURRENT ROW),
        last_7d AS (PARTITION BY user_id ORDER BY stamp_no RANGE BETWEEN 2015 PRECEDING AND CURRENT ROW)
)
SELECT user_id, event_at, event_at AS created_at, * EXCLUDE (user_id, event_at)
FROM rolling
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, user_id
