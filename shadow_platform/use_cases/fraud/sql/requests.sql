-- One request a payment, asked when it is received; event_id and event_ts go into its envelope.
SELECT
    user_id AS subject_id,
    user_id,
    received_at AS requested_at,
    event_id,
    event_at AS event_ts,
    transaction_amount,
    country,
    device
FROM transactions
WHERE received_at >= $start
  AND received_at < $end
ORDER BY requested_at, subject_id
