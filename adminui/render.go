package adminui

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

//go:embed templates/*.html
var templateFiles embed.FS

// page is what a template gets.
type page struct {
	Title  string // of the document, and its heading
	Topic  string // the topic that the page is about; empty: none
	Group  string
	Tab    string // the tab that is shown; empty: that of the view
	Notice string // what an action did
	Body   any

	view    string // the template
	request *request
	handler *Handler
}

// Site is the title of all pages.
func (p page) Site() string { return p.handler.config.Title }

// Token goes into each form that changes something.
func (p page) Token() string { return p.request.token }

// ReadOnly tells whether nothing can be changed.
func (p page) ReadOnly() bool { return !p.handler.config.Actions }

// May tells whether the page has the form for an action.
func (p page) May(action string) bool { return p.handler.may(p.request, Action(action)) }

// functions are what templates call.
var functions = template.FuncMap{
	"age":     age,
	"count":   count,
	"count64": func(n int) string { return count(int64(n)) },
	"escape":  url.QueryEscape,
	"line":    oneLine,
	"name":    name,
	"number":  number,
	"size":    size,
	"size64":  func(n int) string { return size(int64(n)) },
	"stamp":   stamp,
}

// templates are the pages by their name; each has the layout.
var templates = parseTemplates()

func parseTemplates() map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(templateFiles, "templates/layout.html"))
	files, _ := templateFiles.ReadDir("templates")
	pages := make(map[string]*template.Template, len(files))
	for _, file := range files {
		if file.Name() == "layout.html" {
			continue
		}
		own := template.Must(layout.Clone())
		pages[strings.TrimSuffix(file.Name(), ".html")] = template.Must(own.ParseFS(templateFiles, path.Join("templates", file.Name())))
	}
	return pages
}

// render writes a page. It has written nothing if it returns an error.
func (h *Handler) render(w http.ResponseWriter, r *request, status int, p page) error {
	p.request, p.handler = r, h
	if p.Tab == "" {
		p.Tab = p.view
	}
	if p.Notice == "" && r.Method != http.MethodPost {
		p.Notice = notice(r)
	}
	var b bytes.Buffer
	if err := templates[p.view].Execute(&b, p); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = b.WriteTo(w) // a visitor who left needs no answer
	}
	return nil
}

// link returns the address of a page, relative to all others. Names and values alternate; a pair
// without a value is left out.
func link(to string, pairs ...string) string {
	query := make(url.Values, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	if len(query) == 0 {
		return to
	}
	return to + "?" + query.Encode()
}
