-- One row a subscribed customer and day, stamped at the day's end, which is midnight UTC.
-- A window of n days ends with its stamp and holds events by when they happened, once they have been received: a late
-- event counts from the day it comes in. Days are numbered since 1970; day n ends at n * 24 h.
-- A customer is subscribed from the first subscription event on, while bills come, until the cancellation.
WITH facts AS (
    FROM (
        SELECT customer_id, event_at, received_at, 1 AS logins, event_at AS login_at FROM logins
        UNION ALL BY NAME
        SELECT customer_id, event_at, received_at, 1 AS sessions, duration_min, pages FROM sessions
        UNION ALL BY NAME
        SELECT customer_id, event_at, received_at, 1 AS payments, amount, event_at AS paid_at
        FROM transactions WHERE status = 'completed'
        UNION ALL BY NAME
        SELECT customer_id, event_at, received_at, 1 AS failed FROM transactions WHERE status = 'failed'
        UNION ALL BY NAME
        SELECT customer_id, event_at, received_at, 1 AS tickets FROM support_tickets WHERE status = 'opened'
        UNION ALL BY NAME
        SELECT customer_id, event_at, received_at, resolution_hours FROM support_tickets WHERE status = 'resolved'
        UNION ALL BY NAME
        SELECT customer_id, event_at, received_at, score, event_at AS scored_at, event_id FROM surveys
    )
    SELECT
        customer_id,
        (epoch_us(event_at) + 86399999999) // 86400000000 AS day_no,
        (epoch_us(received_at) + 86399999999) // 86400000000 AS known_no,
        count(logins) AS logins,
        max(login_at) AS login_at,
        count(sessions) AS sessions,
        sum(duration_min) AS session_min,
        max(duration_min) AS longest_min,
        sum(pages) AS pages,
        count(pages) AS counted,
        count(payments) AS payments,
        sum(amount) AS amount,
        max(paid_at) AS paid_at,
        count(failed) AS failed,
        count(tickets) AS tickets,
        sum(resolution_hours) AS resolution_hours,
        count(resolution_hours) AS resolved,
        max(scored_at) AS scored_at,
        last(score ORDER BY scored_at, event_id) FILTER (score IS NOT NULL) AS score
    WHERE event_at > $start - INTERVAL 90 DAY
      AND received_at > $start - INTERVAL 90 DAY
      AND received_at <= $end
    GROUP BY ALL
),
stamps AS (
    SELECT unnest(range(epoch_us($start) // 86400000000 + 1, epoch_us($end) // 86400000000 + 1)) AS stamp_no
),
cancelled AS (
    SELECT customer_id, (min(epoch_us(received_at)) + 86399999999) // 86400000000 AS end_no
    FROM cancellations
    WHERE received_at > $start - INTERVAL 90 DAY
      AND received_at <= $end
    GROUP BY customer_id
),
subscribed AS (
    SELECT s.customer_id, t.stamp_no, max(s.signed_up_at) AS signed_up_at
    FROM subscriptions AS s
    JOIN stamps AS t
        ON (epoch_us(s.received_at) + 86399999999) // 86400000000 <= t.stamp_no
        AND (epoch_us(s.event_at) + 86399999999) // 86400000000 > t.stamp_no - 40
    LEFT JOIN cancelled AS c
        ON c.customer_id = s.customer_id
        AND c.end_no <= t.stamp_no
    WHERE s.received_at > $start - INTERVAL 90 DAY
      AND s.received_at <= $end
      AND c.end_no IS NULL
    GROUP BY ALL
),
windows AS (
    SELECT
        s.customer_id,
        to_timestamp(s.stamp_no * 86400) AS event_at,
        any_value(s.signed_up_at) AS signed_up_at,
        max(f.login_at) AS login_at,
        coalesce(sum(f.logins) FILTER (f.day_no > s.stamp_no - 7), 0) AS logins_7d,
        coalesce(sum(f.logins) FILTER (f.day_no > s.stamp_no - 30), 0) AS logins_30d,
        coalesce(sum(f.sessions) FILTER (f.day_no > s.stamp_no - 30), 0) AS sessions_30d,
        sum(f.session_min) FILTER (f.day_no > s.stamp_no - 30) AS session_min_30d,
        max(f.longest_min) FILTER (f.day_no > s.stamp_no - 30) AS longest_min_30d,
        sum(f.pages) FILTER (f.day_no > s.stamp_no - 30) AS pages_30d,
        sum(f.counted) FILTER (f.day_no > s.stamp_no - 30) AS counted_30d,
        max(f.paid_at) AS paid_at,
        coalesce(sum(f.payments) FILTER (f.day_no > s.stamp_no - 30), 0) AS payments_30d,
        coalesce(sum(f.payments), 0) AS payments_90d,
        coalesce(sum(f.amount), 0) AS amount_90d,
        coalesce(sum(f.failed), 0) AS failed_90d,
        coalesce(sum(f.tickets) FILTER (f.day_no > s.stamp_no - 30), 0) AS tickets_30d,
        coalesce(sum(f.tickets), 0) AS tickets_90d,
        sum(f.resolution_hours) AS resolution_hours_90d,
        sum(f.resolved) AS resolved_90d,
        arg_max(f.score, f.scored_at) AS score
    FROM subscribed AS s
    LEFT JOIN facts AS f
        ON f.customer_id = s.customer_id
        AND f.day_no > s.stamp_no - 90
        AND f.known_no <= s.stamp_no
    GROUP BY s.customer_id, s.stamp_no
),
aged AS (
    SELECT *, (epoch_us(event_at) - epoch_us(signed_up_at)) / 86400e6 AS tenure_days FROM windows
)
-- Sums of fractions depend on their order in the last digits, which rounding takes away.
SELECT
    customer_id,
    event_at,
    event_at AS created_at,
    least(90, (epoch_us(event_at) - epoch_us(coalesce(login_at, signed_up_at))) / 86400e6) AS days_since_last_login,
    logins_7d::DOUBLE AS login_count_7d,
    logins_30d * 30 / greatest(1, least(30, tenure_days)) AS login_frequency_30d,
    (logins_7d / greatest(1, least(7, tenure_days))) / nullif(logins_30d / greatest(1, least(30, tenure_days)), 0)
        AS login_trend_7d_30d,
    round(session_min_30d, 3) / nullif(sessions_30d, 0) AS session_duration_avg,
    longest_min_30d AS session_duration_max_30d,
    sessions_30d::DOUBLE AS session_count_30d,
    pages_30d / nullif(counted_30d, 0) AS pages_per_session_30d,
    payments_90d::DOUBLE AS total_transactions_90d,
    payments_30d::DOUBLE AS transaction_count_30d,
    round(amount_90d, 2) / nullif(payments_90d, 0) AS transaction_value_avg,
    round(amount_90d, 2) AS transaction_value_sum_90d,
    least(90, (epoch_us(event_at) - epoch_us(coalesce(paid_at, signed_up_at))) / 86400e6) AS days_since_last_transaction,
    failed_90d::DOUBLE AS failed_payments_90d,
    tickets_30d::DOUBLE AS support_tickets_30d,
    tickets_90d::DOUBLE AS support_tickets_90d,
    round(resolution_hours_90d, 3) / nullif(resolved_90d, 0) AS ticket_resolution_hours_avg_90d,
    tenure_days AS subscription_tenure_days,
    score::DOUBLE AS satisfaction_score
FROM aged
ORDER BY event_at, customer_id
