-- For a restored Prefect database: runs that were in progress during the backup have no process here. Without this they would keep
-- their concurrency slots, and the next run would wait for ever.
WITH ended AS (
  INSERT INTO flow_run_state (flow_run_id, type, name, message)
  SELECT id, 'CRASHED', 'Crashed', 'it was in progress when the restored backup was made'
  FROM flow_run WHERE state_type IN ('PENDING', 'RUNNING', 'CANCELLING')
  RETURNING id, flow_run_id, timestamp
)
UPDATE flow_run
SET state_id = ended.id, state_type = 'CRASHED', state_name = 'Crashed', state_timestamp = ended.timestamp, end_time = ended.timestamp
FROM ended WHERE flow_run.id = ended.flow_run_id;
UPDATE concurrency_limit_v2 SET active_slots = 0;
UPDATE concurrency_limit SET active_slots = '[]';
