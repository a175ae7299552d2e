-- One row an aircraft and hour in which it arrived, stamped at the hour's end.
WITH hourly AS (
    SELECT
        tailnum,
        (epoch_us(received_at) + 3599999999) // 3600000000 AS hour_no,
        count(*) AS arrivals,
        sum(arrival_delay_min) AS delay_min,
        last(arrival_delay_min ORDER BY received_at, event_id) AS last_delay_min
    FROM arrivals
    WHERE received_at > $start - INTERVAL 25 HOUR
      AND received_at <= $end
      AND tailnum <> 'UNKNOWN'
    GROUP BY ALL
),
rolling AS (
    SELECT
        tailnum,
        to_timestamp(hour_no * 3600) AS event_at,
        last_delay_min::DOUBLE AS tail_last_arrival_delay_min,
        sum(delay_min) OVER last_24h / sum(arrivals) OVER last_24h AS tail_arrival_delay_24h_min,
        (sum(arrivals) OVER last_24h)::DOUBLE AS tail_arrivals_24h
    FROM hourly
    WINDOW last_24h AS (PARTITION BY tailnum ORDER BY hour_no RANGE BETWEEN 23 PRECEDING AND CURRENT ROW)
)
SELECT tailnum, event_at, event_at AS created_at, * EXCLUDE (tailnum, event_at)
FROM rolling
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, tailnum
