-- One row an airport of origin and hour in which a flight left or was due to leave, stamped at the hour's end.
-- A flight due within the last 3 hours is overdue at a stamp unless its departure had been received by then.
WITH flights AS (
    SELECT
        s.origin,
        (epoch_us(s.scheduled_departure_at) + 3599999999) // 3600000000 AS due_no,
        (epoch_us(s.received_at) + 3599999999) // 3600000000 AS published_no,
        (epoch_us(d.received_at) + 3599999999) // 3600000000 AS left_no
    FROM schedules AS s
    LEFT JOIN departures AS d USING (flight_id)
    WHERE s.scheduled_departure_at > $start - INTERVAL 3 HOUR
      AND s.scheduled_departure_at <= $end
),
due AS (
    SELECT
        origin,
        due_no + age AS hour_no,
        count(*) AS flights,
        count(*) FILTER (left_no IS NULL OR left_no > due_no + age) AS overdue
    FROM flights, (VALUES (0), (1), (2)) AS ages (age)
    WHERE published_no <= due_no + age
    GROUP BY ALL
),
gone AS (
    SELECT
        origin,
        (epoch_us(received_at) + 3599999999) // 3600000000 AS hour_no,
        count(*) AS departures,
        sum(departure_delay_min) AS delay_min,
        count(*) FILTER (departure_delay_min > 15) AS late
    FROM departures
    WHERE received_at > $start - INTERVAL 7 HOUR
      AND received_at <= $end
    GROUP BY ALL
),
hourly AS (
    SELECT
        origin,
        hour_no,
        flights AS due,
        overdue,
        coalesce(departures, 0) AS departures,
        coalesce(delay_min, 0) AS delay_min,
        coalesce(late, 0) AS late
    FROM due
    FULL JOIN gone USING (origin, hour_no)
),
rolling AS (
    SELECT
        origin,
        to_timestamp(hour_no * 3600) AS event_at,
        delay_min / nullif(departures, 0) AS origin_departure_delay_1h_min,
        sum(delay_min) OVER last_3h / nullif(sum(departures) OVER last_3h, 0) AS origin_departure_delay_3h_min,
        sum(late) OVER last_6h / nullif(sum(departures) OVER last_6h, 0) AS origin_late_share_6h,
        coalesce(overdue, 0) / nullif(due, 0) AS origin_overdue_share_3h,
        departures::DOUBLE AS origin_departures_1h
    FROM hourly
    WINDOW
        last_3h AS (PARTITION BY origin ORDER BY hour_no RANGE BETWEEN 2 PRECEDING AND CURRENT ROW),
        last_6h AS (PARTITION BY origin ORDER BY hour_no RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)
)
SELECT origin, event_at, event_at AS created_at, * EXCLUDE (origin, event_at)
FROM rolling
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, origin
