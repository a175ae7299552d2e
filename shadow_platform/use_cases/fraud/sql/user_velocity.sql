-- One row a user and instant at which a payment came in, or left the last hour, day or week; stamped a microsecond later.
-- A window ends before the stamp, so that a request, which is asked when its payment is received, never reads its own.
-- Times are whole microseconds and sums whole cents, so that they are exact in any order.
WITH payments AS (
    SELECT
        user_id,
        epoch_us(received_at) AS at_us,
        row_number() OVER earlier AS nth,
        least(coalesce(at_us - lag(at_us) OVER earlier, 604800000000), 604800000000) / 1e6 AS gap_s,
        round(transaction_amount * 100)::BIGINT AS cents,
        country,
        device
    FROM transactions
    WHERE received_at >= $start - INTERVAL 337 HOUR
      AND received_at < $end
    WINDOW earlier AS (PARTITION BY user_id ORDER BY received_at, event_id)
),
changes AS (
    FROM payments
    UNION ALL
    SELECT user_id, at_us + stay_us, NULL, NULL, NULL, NULL, NULL
    FROM payments, (VALUES (3600000000), (86400000000), (604800000000)) AS windows (stay_us)
    WHERE at_us + stay_us >= epoch_us($start) AND at_us + stay_us < epoch_us($end)
),
rolling AS (
    SELECT DISTINCT
        user_id,
        make_timestamptz(at_us + 1) AS event_at,
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
        coalesce(arg_max(gap_s, nth) OVER last_7d, 604800) AS seconds_between_payments
    FROM changes
    WINDOW
        last_1h AS (PARTITION BY user_id ORDER BY at_us RANGE BETWEEN 3599999999 PRECEDING AND CURRENT ROW),
        last_24h AS (PARTITION BY user_id ORDER BY at_us RANGE BETWEEN 86399999999 PRECEDING AND CURRENT ROW),
        last_7d AS (PARTITION BY user_id ORDER BY at_us RANGE BETWEEN 604799999999 PRECEDING AND CURRENT ROW)
)
SELECT user_id, event_at, event_at AS created_at, * EXCLUDE (user_id, event_at)
FROM rolling
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, user_id
