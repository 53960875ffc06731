-- The roles of a store on Postgres, once per database, as a superuser or as its owner with CREATEROLE:
--     psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -f roles.sql
-- Then make the tables as `jobs_owner`, and run grants.sql. Set passwords with `\password jobs_worker`, or use certificates.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['jobs_owner', 'jobs_worker', 'jobs_enqueue', 'jobs_read'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
    END LOOP;
END $$;

-- Before Postgres 15, everybody may make tables here.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO jobs_owner, jobs_worker, jobs_enqueue, jobs_read;

-- Makes the tables, the triggers and their functions: `bgtask migrate`. No process that works runs as this role.
GRANT CREATE ON SCHEMA public TO jobs_owner;

-- Whoever only looks writes nothing, whatever it is granted later.
ALTER ROLE jobs_read SET default_transaction_read_only = on;
