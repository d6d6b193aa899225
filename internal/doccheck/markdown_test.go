package doccheck_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the path of the repository's root.
const root = "../.."

// page is a Markdown file.
type page struct {
	path   string // from the root
	text   string // without the contents of code blocks
	blocks []block
}

// block is a fenced code block.
type block struct {
	language string
	line     int // of the first line of code
	code     string
}

// pages returns the files that match the patterns, which are relative to the root.
func pages(t *testing.T, patterns ...string) (list []page) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			path, err := filepath.Rel(root, file)
			require.NoError(t, err)
			list = append(list, parse(filepath.ToSlash(path), string(text)))
		}
	}
	return list
}

// everyPage returns all pages to check.
func everyPage(t *testing.T) []page {
	t.Helper()
	return pages(t, "*.md", "docs/*.md", "benchmarks/*.md")
}

func parse(path, markdown string) page {
	p := page{path: path}
	var text strings.Builder
	var open *block
	number := 0
	for line := range strings.Lines(markdown) {
		number++
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			p.blocks = append(p.blocks, block{language: fence, line: number + 1})
			open = &p.blocks[len(p.blocks)-1]
		case isFence:
			open = nil
		case open != nil:
			open.code += line
			line = "\n"
		}
		text.WriteString(line)
	}
	p.text = text.String()
	return p
}

var (
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	span    = regexp.MustCompile("`[^`\n]+`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	htmlURL = regexp.MustCompile(`(?:src|srcset|href)="([^"]+)"`)
)

// links returns the targets of all links and images.
func (p page) links() (targets []string) {
	text := span.ReplaceAllString(p.text, "")
	for _, pattern := range []*regexp.Regexp{link, htmlURL} {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			targets = append(targets, match[1])
		}
	}
	return targets
}

// spans returns the texts in backticks.
func (p page) spans() (list []string) {
	for _, s := range span.FindAllString(p.text, -1) {
		list = append(list, strings.Trim(s, "`"))
	}
	return list
}

// anchors returns the anchors that GitHub generates for the headings.
func (p page) anchors() map[string]bool {
	anchors := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(p.text, -1) {
		anchor := slug(match[1])
		for n := 1; anchors[anchor]; n++ {
			anchor = slug(match[1]) + "-" + strconv.Itoa(n)
		}
		anchors[anchor] = true
	}
	return anchors
}

func slug(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, title)
}

// section returns the text under a heading, up to the next heading of the same or a higher level.
func (p page) section(t *testing.T, title string) string {
	t.Helper()
	_, rest, found := strings.Cut("\n"+p.text, "\n"+title+"\n")
	require.True(t, found, "%s has no section %q", p.path, title)
	level := len(title) - len(strings.TrimLeft(title, "#"))
	end := regexp.MustCompile(`(?m)^#{1,` + strconv.Itoa(level) + `} `).FindStringIndex(rest)
	if end == nil {
		return rest
	}
	return rest[:end[0]]
}

func TestParse(t *testing.T) {
	t.Parallel()
	p := parse("a.md", "# One `two`: three\n[x](b.md#c) `[no](link)` <img src=\"d.svg\">\n```go\n[no](code)\n```\n## One\n## One\n### Three\ntext\n## Four\n# Two\n")
	assert.Equal(t, []block{{language: "go", line: 4, code: "[no](code)\n"}}, p.blocks)
	assert.Equal(t, []string{"b.md#c", "d.svg"}, p.links())
	assert.Equal(t, []string{"two", "[no](link)"}, p.spans())
	assert.Equal(t, map[string]bool{"one-two-three": true, "one": true, "one-1": true, "three": true, "four": true, "two": true}, p.anchors())
	assert.Equal(t, "text\n", p.section(t, "### Three"))
}
