-- One row a route and hour in which one of its flights arrived, stamped at the hour's end.
WITH hourly AS (
    SELECT
        route,
        (epoch_us(received_at) + 3599999999) // 3600000000 AS hour_no,
        count(*) AS arrivals,
        sum(arrival_delay_min) AS delay_min,
        count(*) FILTER (arrival_delay_min > 15) AS late
    FROM arrivals
    WHERE received_at > $start - INTERVAL 169 HOUR
      AND received_at <= $end
    GROUP BY ALL
),
rolling AS (
    SELECT
        route,
        to_timestamp(hour_no * 3600) AS event_at,
        sum(delay_min) OVER last_24h / sum(arrivals) OVER last_24h AS route_arrival_delay_24h_min,
        sum(late) OVER last_7d / sum(arrivals) OVER last_7d AS route_late_share_7d
    FROM hourly
    WINDOW
        last_24h AS (PARTITION BY route ORDER BY hour_no RANGE BETWEEN 23 PRECEDING AND CURRENT ROW),
        last_7d AS (PARTITION BY route ORDER BY hour_no RANGE BETWEEN 167 PRECEDING AND CURRENT ROW)
)
SELECT route, event_at, event_at AS created_at, * EXCLUDE (route, event_at)
FROM rolling
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, route
