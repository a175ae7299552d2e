-- One row an applicant and hour in which a report on it came in, stamped at the hour's end.
WITH latest AS (
    SELECT
        applicant_id,
        to_timestamp((epoch_us(received_at) + 3599999999) // 3600000000 * 3600) AS event_at,
        last(bureau_reports ORDER BY received_at, event_at, event_id) AS report
    FROM bureau_reports
    WHERE received_at > $start - INTERVAL 1 HOUR
      AND received_at <= $end
    GROUP BY ALL
)
SELECT
    applicant_id,
    event_at,
    event_at AS created_at,
    report.open_accounts::DOUBLE AS open_accounts,
    report.utilisation_pct AS utilisation_pct,
    report.inquiries_6m::DOUBLE AS inquiries_6m,
    report.delinquencies_2y::DOUBLE AS delinquencies_2y,
    report.oldest_account_months::DOUBLE AS oldest_account_months,
    report.total_debt AS total_debt,
    report.worst_status AS worst_status
FROM latest
WHERE event_at > $start
  AND event_at <= $end
ORDER BY event_at, applicant_id
