package ci

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// shape returns how many nodes of each kind GitHub's Markdown has, and the text in it that is
// no code.
func shape(t *testing.T, source string) (kinds map[string]int, prose string) {
	t.Helper()
	kinds = map[string]int{}
	var b strings.Builder
	src := []byte(source)
	doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(src))
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		if n.Kind() != ast.KindText && n.Kind() != ast.KindString {
			kinds[n.Kind().String()]++
		}
		switch n := n.(type) {
		case *ast.CodeSpan, *ast.FencedCodeBlock:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			b.Write(n.Segment.Value(src))
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kinds, b.String()
}

func asMarkdown(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := WriteMarkdown(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever the text, the Markdown has the same headings, lists, tables and code as that of a
// harmless one, and no word of it that is no code.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{
		hostile, "", " ", "`", "``` \n```\n", "~~~", "a|b", `a\|b`, `\`, "`\\", "<script>alert(1)</script>", "<!--", "[x](http://e.org)",
		"![x](y)", "www.example.org", "https://example.org", "@octocat", "a@b.org", "#1", "owner/repo#1", "- x", "1. x", "---", "===",
		"*x* _y_ ~z~", "&lt;", "[^1]", ":smile:", "$x$", "| a |\n|---|", "    x", "\t", "<details>", strings.Repeat("`", 70),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, words := shape(t, asMarkdown(t, sample("plain")))
		source := asMarkdown(t, sample(s))
		got, prose := shape(t, source)
		if fmt.Sprint(got) != fmt.Sprint(want) || prose != words {
			t.Errorf("%q: %v and %q, want %v and %q:\n%s", s, got, prose, want, words, source)
		}
	})
}

// What is too much is left out from the end, and counted.
func TestMarkdownSize(t *testing.T) {
	small := sample("plain")
	if text := asMarkdown(t, small); strings.Contains(text, "Left out") {
		t.Errorf("left out of\n%s", text)
	}
	long := strings.Repeat("x`|\x1b", 2_000)
	many := sample(strings.Repeat(long+"\n", 3))
	many.Text = strings.Repeat("`````\n", 20_000)
	for i := range 3_000 {
		many.Problems = append(many.Problems, Problem{fmt.Sprint(i, long[:200]), []string{long}})
		many.Tests = append(many.Tests, Test{Check: fmt.Sprint("check ", i), Name: long})
	}
	text := asMarkdown(t, many)
	if n := len(text); n > 1<<16 || n < maxMarkdown/2 {
		t.Errorf("%d bytes", n)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var left int
	if n, _ := fmt.Sscanf(lines[len(lines)-1], "Left out here: %d lines of the report.", &left); n != 1 || left < 8_000 {
		t.Errorf("ends with %q", lines[len(lines)-1])
	}
	if kinds, _ := shape(t, text); kinds["HTMLBlock"]+kinds["Link"]+kinds["RawHTML"] > 0 {
		t.Errorf("%v", kinds)
	}
	if !strings.Contains(text, "more\n") || !strings.Contains(text, "characters more") {
		t.Error("it does not say what of a block, or of a text, it leaves out")
	}
}

// command is what GitHub's runner takes a line of a log for, or "", as ActionCommand.TryParseV2
// and TryParse of actions/runner do.
func command(line string) (name, title, message string) {
	unescape := func(s string, pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			s = strings.ReplaceAll(s, pairs[i], pairs[i+1])
		}
		return s
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "::")
	info, message, found := strings.Cut(rest, "::")
	if i := strings.Index(line, "##["); !(ok && found) && i >= 0 {
		return "##[", "", line[i:]
	} else if !ok || !found {
		return "", "", ""
	}
	name, properties, _ := strings.Cut(info, " ")
	for _, p := range strings.Split(properties, ",") {
		if value, ok := strings.CutPrefix(p, "title="); ok {
			title = unescape(value, "%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
		}
	}
	return name, title, unescape(message, "%0D", "\r", "%0A", "\n", "%25", "%")
}

func FuzzAnnotations(f *testing.F) {
	for _, s := range []string{hostile, "", "100%25", "a:b,c", "::", "%0A::error::", "##[error]x", strings.Repeat("x", 2*maxSpan)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := sample(s)
		var b bytes.Buffer
		if err := WriteAnnotations(&b, r); err != nil {
			t.Fatal(err)
		}
		line, rest, _ := strings.Cut(b.String(), "\n")
		name, title, message := command(line)
		if want := visibleLines(strings.ReplaceAll(cut(r.Name), "\n", `\n`)); name != "error" || title != want && !strings.Contains(want, `\`) || rest != "" {
			t.Errorf("%q: %q is %q, title %q, want %q; then %q", s, line, name, title, want, rest)
		}
		if !strings.HasSuffix(message, "\nwhy") {
			t.Errorf("%q: message %q", s, message)
		}
	})
}

func TestAnnotationsOfMany(t *testing.T) {
	for _, tt := range []struct{ problems, lines int }{{0, 0}, {1, 1}, {10, 10}, {11, 10}, {500, 10}} {
		r := &Report{Name: "verify, a:b 5%"}
		for i := range tt.problems {
			r.Problems = append(r.Problems, Problem{Title: fmt.Sprint("problem ", i)})
		}
		var b bytes.Buffer
		if err := WriteAnnotations(&b, r); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "\n"); n != tt.lines {
			t.Errorf("%d problems: %d lines", tt.problems, n)
		}
		if tt.problems > 10 && !strings.Contains(b.String(), fmt.Sprintf("::and %d more, ", tt.problems-9)) {
			t.Errorf("%d problems: the last does not say how many more:\n%s", tt.problems, &b)
		}
		if tt.lines > 0 && !strings.HasPrefix(b.String(), "::error title=verify%2C a%3Ab 5%25::problem 0\n") {
			t.Errorf("%s", &b)
		}
	}
}
