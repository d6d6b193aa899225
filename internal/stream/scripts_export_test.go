package stream

// TrimSource is the text of the script that Trim runs.
var TrimSource = scriptSource("trim")
