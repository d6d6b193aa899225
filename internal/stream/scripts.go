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
	beatScript          = newScript("beat")
	claimScript         = newScript("claim")
	commitScript        = newScript("retries", "commit")
	createGroupScript   = newScript("create_group")
	deadLetterScript    = newScript("texts", "retries", "dead_letter")
	moveDelayedScript   = newScript("texts", "move_delayed")
	pageScript          = newScript("page")
	postponeScript      = newScript("texts", "retries", "postpone")
	publishScript       = newScript("publish")
	recreateScript      = newScript("recreate")
	releaseScript       = newScript("release")
	removeIdleScript    = newScript("remove_idle")
	renewLeasesScript   = newScript("renew_leases")
	replayScript        = newScript("replay")
	reportScript        = newScript("report")
	retryLetterScript   = newScript("texts", "retry_dead_letter")
	rightsScript        = newScript("rights")
	settleRetriesScript = newScript("retries", "settle_retries")
	takeRetriesScript   = newScript("texts", "retries", "take_retries")
	trimScript          = newScript("trim")

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
	pauseScript            = newScript("pause")
	pendingPageScript      = newScript("pending_page")
	searchScript           = newScript("search")

	// These run in transactions and pipelines, where EVALSHA could not fall back to EVAL by itself.
	deadLetterAckSource = scriptSource("dead_letter_ack")
	replayDeleteSource  = scriptSource("replay_delete")
	publishSource       = scriptSource("publish")
	scheduleSource      = scriptSource("schedule")
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
