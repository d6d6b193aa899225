// Package admin inspects and repairs topics of redisstream: which group lags and why, who holds an
// entry, what blocks trimming; skip, reset, pause, delete.
//
// It works on any stream, also on groups whose members use another library; what only redisstream
// knows is missing for them (Consumer.Reports). It never runs KEYS, and each reply has a bound.
// Each function that destroys something has a dry run, which returns what it would do and changes
// nothing.
//
// The clients of Connect work, and any other *redis.Client, *redis.ClusterClient (all masters are
// asked) and *redis.Ring. README.md lists the ACL rights.
package admin
