-- One request a scheduled flight, asked at its scheduled departure.
SELECT
    flight_id AS subject_id,
    carrier,
    origin,
    route,
    tailnum,
    scheduled_departure_at AS requested_at,
    dest,
    lower(strftime(timezone('America/New_York', scheduled_departure_at), '%a')) AS weekday,
    date_part('hour', timezone('America/New_York', scheduled_departure_at))
        + date_part('minute', timezone('America/New_York', scheduled_departure_at)) / 60.0 AS scheduled_hour_local,
    distance_miles,
    scheduled_duration_min
FROM schedules
WHERE scheduled_departure_at >= $start
  AND scheduled_departure_at < $end
  AND received_at <= scheduled_departure_at
ORDER BY requested_at, subject_id
