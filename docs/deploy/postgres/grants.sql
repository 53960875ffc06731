-- What each role may do with the tables: as `jobs_owner`, after the first `bgtask migrate`, and after each one that makes a table:
--     psql "$OWNER_URL" -v ON_ERROR_STOP=1 -f grants.sql

-- Stores, claims, ends, rescues and deletes jobs, beats, moves schedules: processes with BGTASK_ROLE=work or both, and operators.
GRANT SELECT, INSERT, UPDATE, DELETE ON river_job, river_queue, bgtask_worker, bgtask_schedule, bgtask_audit, bgtask_minute TO jobs_worker;
GRANT SELECT ON river_migration TO jobs_worker;
GRANT SELECT, UPDATE ON bgtask_instance TO jobs_worker;
GRANT USAGE, SELECT ON SEQUENCE river_job_id_seq TO jobs_worker;

-- Stores calls and awaits their outcomes: processes with BGTASK_ROLE=enqueue. It cannot change or delete a job, nor pause a queue.
-- An insertion that finds a job with its key sets the job's `kind` to what it is, for which Postgres asks this privilege.
GRANT SELECT, INSERT, UPDATE (kind) ON river_job TO jobs_enqueue;
GRANT SELECT ON river_migration, river_queue, bgtask_instance, bgtask_worker, bgtask_schedule, bgtask_minute TO jobs_enqueue;
GRANT USAGE, SELECT ON SEQUENCE river_job_id_seq TO jobs_enqueue;
-- Only with the feature `live`, if BGTASK_TICKET_KEYS is not set: the first process keeps a new key in the database.
-- GRANT UPDATE (ticket_key) ON bgtask_instance TO jobs_enqueue;

-- Reads everything, also arguments and values: dashboards, `bgtask status`, `jobs`, `job`, `queues`, `workers`, `schedules`, `doctor`.
GRANT SELECT ON river_job, river_queue, river_migration, bgtask_instance, bgtask_worker, bgtask_schedule, bgtask_audit, bgtask_minute TO jobs_read;
