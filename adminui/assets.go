package adminui

import (
	_ "embed"
	"net/http"
	"strconv"
)

//go:embed assets/app.css
var stylesheet []byte

//go:embed assets/app.js
var script []byte

// asset is a file that pages refer to.
type asset struct {
	kind    string
	content []byte
}

var assets = map[string]asset{
	"app.css": {"text/css; charset=utf-8", stylesheet},
	"app.js":  {"text/javascript; charset=utf-8", script},
}

func (a asset) write(w http.ResponseWriter, r *request) error {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.content) // a visitor who left needs no answer
	}
	return nil
}
