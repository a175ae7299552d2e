-- Charged back within 45 days. Known with the first chargeback; without one by then, it is negative and known then.
-- A request is about the payment that its event_id names, by the clock of whoever asked and that of whoever recorded it:
-- a day apart they are no longer one question. Of no such payment there is no label: nobody could charge it back.
WITH charged AS (
    SELECT transaction_id, min(received_at) AS received_at, arg_min(event_at, received_at) AS event_at
    FROM chargebacks
    GROUP BY transaction_id
),
answers AS (
    SELECT
        r.subject_id,
        r.requested_at,
        c.received_at IS NOT NULL AS label,
        coalesce(c.event_at, r.requested_at + INTERVAL 45 DAY) AS event_at,
        coalesce(c.received_at, r.requested_at + INTERVAL 45 DAY) AS known_at
    FROM requests AS r
    SEMI JOIN transactions AS t
        ON t.event_id = r.event_id
        AND t.user_id = r.subject_id
        AND t.received_at >= r.requested_at - INTERVAL 1 DAY
        AND t.received_at <= r.requested_at + INTERVAL 1 DAY
    LEFT JOIN charged AS c
        ON c.transaction_id = r.event_id
        AND c.received_at <= r.requested_at + INTERVAL 45 DAY
)
SELECT subject_id, requested_at, label, event_at, known_at
FROM answers
WHERE known_at > requested_at
  AND known_at <= $as_of
ORDER BY known_at, subject_id, requested_at
