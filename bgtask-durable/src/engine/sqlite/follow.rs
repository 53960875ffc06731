//! SQLite: what follows the end of a job, as jobs in the transaction that stores the end. Must never change the row that has ended.

/// Stores one job per target of the row, once the triggers are done that may drop the write. A row that `bgtask_cancelled` makes
/// cancelled passes through `discarded`, which is no end then. Each column has the value that the engine's own insertion gives it: those
/// that are left out have their defaults. All processes notice the write itself.
///
/// The version is counted as `Row::status` does.
pub(super) const FOLLOWED: &str = concat!(
    "CREATE TRIGGER bgtask_followed AFTER UPDATE ON river_job
WHEN NEW.state IN ('completed', 'discarded', 'cancelled')
    AND (
        OLD.state NOT IN ('completed', 'discarded', 'cancelled')
        OR (OLD.state = 'discarded' AND NEW.state = 'cancelled')
    )
    AND NOT (
        OLD.state = 'running' AND NEW.state = 'discarded'
        AND json_extract(NEW.metadata, '$.cancel_attempted_at') IS NOT NULL
    )
    AND json_type(NEW.metadata, '$.\"bgtask:notify\"') = 'array'
BEGIN
    INSERT INTO river_job (kind, queue, max_attempts, args, metadata, created_at, scheduled_at)
    SELECT '",
    follow_function!(),
    "', '",
    follow_queue!(),
    "', ",
    follow_attempts!(),
    ",
        CASE WHEN is_asked THEN jsonb_set(args, '$.end.value', json(NEW.metadata -> '$.output')) ELSE args END,
        CASE WHEN json_type(NEW.metadata, '$.\"bgtask:trace\"') IS NULL THEN jsonb('{}')
            ELSE jsonb_object('bgtask:trace', json_extract(NEW.metadata, '$.\"bgtask:trace\"')) END,
        datetime('now', 'subsec'), datetime('now', 'subsec')
    FROM (
        SELECT one.key AS number,
            json_extract(one.value, '$.with_value') AND json_type(NEW.metadata, '$.output') IS NOT NULL AS is_asked,
            jsonb_object(
                'end', json_object(
                    'job', NEW.id,
                    'function', NEW.kind,
                    'state', CASE NEW.state WHEN 'completed' THEN 'done' WHEN 'discarded' THEN 'dead' ELSE 'cancelled' END,
                    'attempt', NEW.attempt,
                    'version', 2 * coalesce(json_extract(NEW.metadata, '$.\"bgtask:version\"'), 0) + 1,
                    'at', strftime('%Y-%m-%dT%H:%M:%fZ', NEW.finalized_at),
                    'error', CASE NEW.state WHEN 'discarded' THEN json_extract(NEW.errors, '$[#-1].error') END,
                    'store', (SELECT id FROM bgtask_instance)
                ),
                'target', json(one.value),
                'index', one.key
            ) AS args
        FROM json_each(NEW.metadata, '$.\"bgtask:notify\"') AS one
    )
    ORDER BY number;
END"
);
