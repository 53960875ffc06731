//! Postgres: what follows the end of a job, as jobs in the transaction that stores the end. Must never change the row that has ended.

/// Stores one job per target of the row. The name of the schema is that of the table, because the transaction may be one of the program's,
/// with another search path. Each column has the value that the engine's own insertion gives it: those that are left out have their
/// defaults. The workers of the queue are notified as by the engine.
///
/// The version is counted as `Row::status` does.
pub(super) const FOLLOW: &str = concat!(
    "CREATE OR REPLACE FUNCTION bgtask_follow() RETURNS trigger LANGUAGE plpgsql AS $follow$
DECLARE
    ended jsonb := jsonb_build_object(
        'job', NEW.id,
        'function', NEW.kind,
        'state', CASE NEW.state WHEN 'completed' THEN 'done' WHEN 'discarded' THEN 'dead' ELSE 'cancelled' END,
        'attempt', NEW.attempt,
        'version', 2 * coalesce((NEW.metadata ->> 'bgtask:version')::bigint, 0) + 1,
        'at', to_char(NEW.finalized_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
        'error', CASE NEW.state WHEN 'discarded' THEN NEW.errors[array_upper(NEW.errors, 1)] ->> 'error' END
    );
BEGIN
    EXECUTE format($insert$
        INSERT INTO %1$I.river_job (kind, queue, max_attempts, args, metadata)
        SELECT '",
    follow_function!(),
    "', '",
    follow_queue!(),
    "', ",
    follow_attempts!(),
    ", jsonb_build_object(
                'end', $1 || jsonb_build_object('store', (SELECT id FROM %1$I.bgtask_instance)) || CASE
                    WHEN target -> 'with_value' = 'true'::jsonb AND $2 ? 'output' THEN jsonb_build_object('value', $2 -> 'output')
                    ELSE '{}' END,
                'target', target,
                'index', index - 1
            ),
            CASE WHEN $2 ? 'bgtask:trace' THEN jsonb_build_object('bgtask:trace', $2 -> 'bgtask:trace') ELSE '{}' END
        FROM jsonb_array_elements($2 -> 'bgtask:notify') WITH ORDINALITY AS one (target, index)
        ORDER BY index
    $insert$, TG_TABLE_SCHEMA) USING ended, NEW.metadata;
    PERFORM pg_notify(TG_TABLE_SCHEMA || '.river_insert', json_build_object('queue', '",
    follow_queue!(),
    "')::text);
    RETURN NULL;
END $follow$"
);

/// Fires after the triggers that may drop the write, or change the state.
pub(super) const FOLLOWED: &str =
    "CREATE TRIGGER bgtask_followed AFTER UPDATE ON river_job FOR EACH ROW
WHEN (
    NEW.state IN ('completed', 'discarded', 'cancelled')
    AND OLD.state NOT IN ('completed', 'discarded', 'cancelled')
    AND jsonb_typeof(NEW.metadata -> 'bgtask:notify') = 'array'
)
EXECUTE FUNCTION bgtask_follow()";
