// Package subscription delivers the entries of one stream to one output channel:
//
//	backend -> reader -> inbox -> worker -> handler -> acker -> backend
//	                       leases are renewed while entries stay in the inbox
//
// The comment of each hand-over names the owner of the entry. An entry that nobody acknowledged
// stays in the inbox, and Close releases it.
//
// Delivery modes: backend.go (their interface), backend_group.go (consumer group with acks),
// backend_exclusive.go (its active consumer), backend_auto_ack.go (without acks), backend_fanout.go
// (without a group), backend_member.go (what all groups do alike).
//
// Several subscriptions with one output: sessions.go, exclusive.go (standing by, and being the active
// consumer), exclusive_lease.go (its lease), partitioned.go (a member that owns partitions),
// together.go (a fan-out of partitions).
//
// Delivery: subscription.go (start), shutdown.go (goroutines and their ordered end), reader.go,
// worker.go, crew.go (workers are started when they are needed), offer.go (a message is offered while
// its lease lasts), callbacks.go (the user's functions may panic).
//
// Entries in the inbox: entry.go (states), inbox.go (the lock), key_queues.go (order),
// read_ahead.go (flow control), lease_table.go, retry_timers.go (redelivery after a nack),
// send_barrier.go, fifo.go.
//
// Settlement: acks.go, late_acks.go (handlers that outlive Close), leases.go (renewal),
// dead_letters.go.
//
// Recovery: recovery.go (what is searched when), recovery_lost_reply.go, recovery_take_over.go,
// recovery_frozen_idle.go (a server's clock that was set back), recovery_checkpoint.go (a group
// that vanished), recovery_trimmed.go (entries trimmed before they were read), recovery_report.go,
// shared_looks.go (how often a member looks).
//
// Other: repeater.go (work at intervals), periodic_task.go (idle consumers, trimming), upkeep.go
// (handlers that hold a message for long), member_report.go, logger.go.
package subscription
