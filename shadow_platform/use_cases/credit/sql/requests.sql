-- One request an application, asked when it is received.
SELECT
    applicant_id AS subject_id,
    applicant_id,
    received_at AS requested_at,
    age,
    income,
    credit_score,
    employment_years
FROM applications
WHERE received_at >= $start
  AND received_at < $end
ORDER BY requested_at, subject_id
