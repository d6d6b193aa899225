package subscription

import "github.com/millrace/redisstream/internal/stream"

// trimmedUnread counts the entries that were trimmed from the stream before the group read them.
// They can be counted only while nothing of what the group has read is left in the stream.
type trimmedUnread struct {
	behind int64 // entries that the server's count lacks: Redis 7.0 leaves out those trimmed unread
	missed int64 // trimmed unread at the last count
	front  int64 // all that were trimmed at the last count, read or unread
}

// count returns how many more entries were trimmed unread since the last count.
func (w *trimmedUnread) count(group stream.GroupInfo, all stream.Info) int64 {
	if group.Read < 0 || all.Added == 0 {
		return 0 // unknown: another program created the group, and it has read nothing yet
	}
	read := group.Read + w.behind
	switch {
	case !stream.Precedes(group.LastDelivered, all.Last): // all is read
		w.behind, w.missed = all.Added-group.Read, 0
	case all.Length > 0 && !stream.Precedes(group.LastDelivered, all.First):
		if w.missed > 0 && all.Added-read > all.Length { // the lag exceeds the length
			w.behind += w.missed
		}
		w.missed = 0
	default:
		missed := all.Added - all.Length - read
		if read > w.front {
			w.missed = 0 // the group read more, and the server counted the trimmed entries
		}
		w.front = all.Added - all.Length
		more := missed - w.missed
		w.missed = max(missed, w.missed)
		return max(more, 0)
	}
	return 0
}
