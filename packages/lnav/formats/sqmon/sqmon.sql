-- One row for each lock, as far as the lifetimes know it: a lock that is still held has no ended_before.
CREATE VIEW IF NOT EXISTS sqmon_locks AS
SELECT statement_id, username, locked_object, lock_mode,
       max(began_after) AS began_after, min(began_before) AS began_before,
       max(ended_after) AS ended_after, max(ended_before) AS ended_before,
       max(held_min_s) AS held_min_s, max(held_max_s) AS held_max_s, max(orphaned) AS orphaned, max(statement) AS statement
  FROM sqmon_lifetimes
 WHERE event LIKE 'lock_%'
 GROUP BY statement_id, locked_object, lock_mode, nth, from_run_id;
