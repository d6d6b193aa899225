package stream

import (
	"embed"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// scripts are the Lua scripts: each does in one step on the server what several commands could not.
//
//go:embed scripts/*.lua
var scripts embed.FS

var (
	acquireOwnerScript   = newScript("owner", "acquire_owner")
	beatScript           = newScript("beat")
	createGroupScript    = newScript("create_group")
	moveDelayedScript    = newScript("texts", "move_delayed")
	pageScript           = newScript("page")
	publishScript        = newScript("publish")
	recreateScript       = newScript("recreate")
	removeIdleScript     = newScript("remove_idle")
	replayScript         = newScript("replay")
	reportScript         = newScript("report")
	retryLetterScript    = newScript("texts", "retry_dead_letter")
	rightsScript         = newScript("rights")
	swapPartitionsScript = newScript("swap_partitions")
	trimScript           = newScript("trim")

	// Of a consumer that may own the stream.
	ackScript           = newGroupScript("ack")
	claimScript         = newGroupScript("claim")
	commitScript        = newGroupScript("retries", "commit")
	deadLetterScript    = newGroupScript("texts", "retries", "dead_letter")
	hasForeignScript    = newGroupScript("has_foreign")
	postponeScript      = newGroupScript("texts", "retries", "postpone")
	releaseScript       = newGroupScript("owner", "release")
	renewLeasesScript   = newGroupScript("renew_leases")
	settleOwnerScript   = newGroupScript("owner", "settle_owner")
	settleRetriesScript = newGroupScript("retries", "settle_retries")
	takeRetriesScript   = newGroupScript("texts", "retries", "take_retries")

	// Of package admin.
	acknowledgeScript      = newScript("acknowledge")
	countEntriesScript     = newScript("info", "count_entries")
	dropConsumerScript     = newScript("drop_consumer")
	holdingScript          = newScript("holding")
	inspectConsumersScript = newScript("inspect_consumers")
	inspectEntryScript     = newScript("inspect_entry")
	inspectGroupsScript    = newScript("info", "inspect_groups")
	inspectTopicScript     = newScript("info", "inspect_topic")
	parkedPageScript       = newScript("texts", "parked_page")
	partitionMembersScript = newScript("partition_members")
	pauseScript            = newScript("pause")
	pendingPageScript      = newScript("pending_page")
	searchScript           = newScript("search")

	// These run in transactions and pipelines, where EVALSHA could not fall back to EVAL by itself, or
	// once in the life of a process.
	agreePartitionsSource = scriptSource("agree_partitions")
	deadLetterAckSource   = scriptSource("dead_letter_ack")
	replayDeleteSource    = scriptSource("replay_delete")
	publishSource         = scriptSource("publish")
	scheduleSource        = scriptSource("schedule")
)

// newScript returns a script of several files, one after the other.
func newScript(names ...string) *redis.Script {
	var source strings.Builder
	for _, name := range names {
		source.WriteString(scriptSource(name))
	}
	return redis.NewScript(source.String())
}

func scriptSource(name string) string {
	source, err := scripts.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // a wrong name above
	}
	return comments.ReplaceAllString(string(source), "")
}

// comments matches lines that are comments: the server needs none of them.
var comments = regexp.MustCompile(`(?m)^ *--.*\n`)
