-- One row an airport of origin and hour in which an observation came in, stamped at the hour's end.
WITH latest AS (
    SELECT
        origin,
        to_timestamp((epoch_us(received_at) + 3599999999) // 3600000000 * 3600) AS event_at,
        last(weather ORDER BY received_at, event_at, event_id) AS w
    FROM weather
    WHERE received_at > $start - INTERVAL 1 HOUR
      AND received_at <= $end
    GROUP BY ALL
)
SELECT
    origin,
    event_at,
    event_at AS created_at,
    w.humidity_pct AS origin_humidity_pct,
    w.wind_speed_mph AS origin_wind_speed_mph,
    coalesce(w.wind_gust_mph, w.wind_speed_mph) AS origin_wind_gust_mph,
    w.precipitation_in AS origin_precipitation_in,
    w.visibility_miles AS origin_visibility_miles
FROM latest
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, origin
