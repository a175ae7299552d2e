-- One row a carrier and hour in which one of its flights arrived, stamped at the hour's end.
WITH hourly AS (
    SELECT
        carrier,
        (epoch_us(received_at) + 3599999999) // 3600000000 AS hour_no,
        count(*) AS arrivals,
        sum(arrival_delay_min) AS delay_min,
        count(*) FILTER (arrival_delay_min > 15) AS late
    FROM arrivals
    WHERE received_at > $start - INTERVAL 25 HOUR
      AND received_at <= $end
    GROUP BY ALL
),
rolling AS (
    SELECT
        carrier,
        to_timestamp(hour_no * 3600) AS event_at,
        sum(delay_min) OVER last_3h / sum(arrivals) OVER last_3h AS carrier_arrival_delay_3h_min,
        sum(late) OVER last_24h / sum(arrivals) OVER last_24h AS carrier_late_share_24h
    FROM hourly
    WINDOW
        last_3h AS (PARTITION BY carrier ORDER BY hour_no RANGE BETWEEN 2 PRECEDING AND CURRENT ROW),
        last_24h AS (PARTITION BY carrier ORDER BY hour_no RANGE BETWEEN 23 PRECEDING AND CURRENT ROW)
)
SELECT carrier, event_at, event_at AS created_at, * EXCLUDE (carrier, event_at)
FROM rolling
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, carrier
