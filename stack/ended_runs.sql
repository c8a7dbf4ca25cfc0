-- For Prefect's database of a backup: what was under way when that was made ended there. Nothing carries it on in the restored stack,
-- nothing would ever free its places, and the next run would wait for them for ever.
WITH ended AS (
  INSERT INTO flow_run_state (flow_run_id, type, name, message)
  SELECT id, 'CRASHED', 'Crashed', 'it was under way when the backup was made that was restored'
  FROM flow_run WHERE state_type IN ('PENDING', 'RUNNING', 'CANCELLING')
  RETURNING id, flow_run_id, timestamp
)
UPDATE flow_run
SET state_id = ended.id, state_type = 'CRASHED', state_name = 'Crashed', state_timestamp = ended.timestamp, end_time = ended.timestamp
FROM ended WHERE flow_run.id = ended.flow_run_id;
UPDATE concurrency_limit_v2 SET active_slots = 0;
UPDATE concurrency_limit SET active_slots = '[]';
