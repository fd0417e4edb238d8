// Package align reads another engine's tensor names and layouts as the schedule's.
package align

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model/strictjson"
)

// MaxMap is the largest size of a map's file, in bytes.
const MaxMap = 1 << 20

// A Map joins the names that an engine gives its tensors to stages. It is a JSON
// file:
//
//	{ "schema": 1,
//	  "name": "mine",                          what messages call it
//	  "about": "…", "notes": ["…"],            for people; notes are printed when it is used
//	  "files": "step_{step}/{name}.npy",       where the tensors lie: the default
//	  "first_step": 0,                         the number of the prompt's step
//	  "tokens": "tokens.npy",                  where the ids lie: the default
//	  "prefixes": ["transformer."],            what a name may begin with besides
//	  "stages": [
//	    {"from": "blocks.{N}.attn.hook_q", "to": "h.{N}.attn.q", "axes": "B T H D"},
//	    {"from": "kq_soft_max-{N}", "to": "h.{N}.attn.probs", "axes": ["B H T S", "H T S"], "pad": "S"},
//	    {"from": "layer{N}.kv", "to": ["h.{N}.attn.cache_k", "h.{N}.attn.cache_v"], "axes": "2 B S H D", "split": "2"},
//	    {"from": "lm_head", "to": ["logits", "logits_last"]} ],
//	  "ignore": [ {"from": "blocks.*.hook_scale", "why": "the deviation alone"} ] }
//
// {N} is the number of a layer, {step} of a step, {name} a name, which may have
// slashes. Without {step} in files, all is of the prompt. A name that no rule takes may
// be a stage's; if not, a note names it. Of rules for the same stage the first whose
// tensor is there counts.
//
// axes are the layouts in which the tensor may be, the schedule's by default. pad is an
// axis that may be too long and is cut. split is an axis along which the tensor is cut
// into the stages of to; without it the tensor is each stage of to whose shape it has.
type Map struct {
	Schema    int          `json:"schema"`
	Name      string       `json:"name"`
	About     string       `json:"about"`
	Notes     []string     `json:"notes"`
	Files     string       `json:"files"`
	FirstStep int          `json:"first_step"`
	Tokens    string       `json:"tokens"`
	Prefixes  []string     `json:"prefixes"`
	Stages    []Rule       `json:"stages"`
	Ignore    []IgnoreRule `json:"ignore"`

	path *regexp.Regexp // of a file below the dump, by Files
}

// Rule is one entry of a Map's stages.
type Rule struct {
	From  string     `json:"from"`
	To    StringList `json:"to"`
	Axes  StringList `json:"axes"`
	Pad   string     `json:"pad"`
	Split string     `json:"split"`

	name    *regexp.Regexp // by From
	layouts []layout       // by Axes
}

// IgnoreRule is one entry of a Map's ignore; From is a pattern of names, with * and ?.
type IgnoreRule struct {
	From string `json:"from"`
	Why  string `json:"why"`
}

// StringList is a list of strings; in JSON a list of one may be the string.
type StringList []string

// UnmarshalJSON reads a list of strings, or one string.
func (l *StringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = StringList{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// ParseMap reads a map strictly: schema 1, no unknown field, no key twice, nothing after
// the object, every rule well formed.
func ParseMap(b []byte) (*Map, error) {
	m := &Map{Tokens: harness.TokensFile, Files: "step_{step}/{name}.npy"}
	if err := strictjson.Unmarshal(b, m); err != nil {
		return nil, err
	}
	return m, m.check()
}

// check compiles the templates, and returns an error for the first malformed field.
func (m *Map) check() error {
	switch {
	case m.Schema != 1:
		return errors.New(`"schema" is not 1`)
	case m.Name == "":
		return errors.New("name is missing")
	case m.FirstStep < 0:
		return fmt.Errorf("first_step is %d, want 0 or more", m.FirstStep)
	case len(m.Stages) == 0:
		return errors.New("stages is empty")
	case slices.Contains(m.Prefixes, ""):
		return errors.New("prefixes: one is empty")
	case !filepath.IsLocal(m.Tokens):
		return fmt.Errorf("tokens is %q: want a path below the dump", m.Tokens)
	case strings.Count(m.Files, "{name}") != 1 || strings.Count(m.Files, "{step}") > 1 ||
		!strings.HasSuffix(m.Files, ".npy") || strings.HasPrefix(m.Files, "/"):
		return fmt.Errorf("files is %q: want a path below the dump with {name}, at most one {step}, and .npy at its end",
			m.Files)
	}
	m.path = template(m.Files, map[string]string{"name": ".+", "step": "[0-9]{1,9}"})
	for i := range m.Stages {
		if err := m.Stages[i].check(); err != nil {
			return fmt.Errorf("stages: %q: %w", m.Stages[i].From, err)
		}
	}
	for _, r := range m.Ignore {
		if err := names.CheckPattern(r.From); err != nil {
			return fmt.Errorf("ignore: %w", err)
		}
		if r.Why == "" {
			return fmt.Errorf("ignore: %q is ignored without a \"why\"", r.From)
		}
	}
	return nil
}

// template compiles a text in which {mark} is a group of that name, of the mark's
// expression.
func template(text string, marks map[string]string) *regexp.Regexp {
	expr := regexp.QuoteMeta(text)
	for mark, part := range marks {
		expr = strings.Replace(expr, regexp.QuoteMeta("{"+mark+"}"), "(?P<"+mark+">"+part+")", 1)
	}
	return regexp.MustCompile("^" + expr + "$")
}

// part returns the text of a template's mark in a match, or "" without such a mark.
func part(template *regexp.Regexp, match []string, mark string) string {
	if i := template.SubexpIndex(mark); i >= 0 {
		return match[i]
	}
	return ""
}

const layerMark = "{N}"

// check compiles the rule, and returns an error if it is malformed.
func (r *Rule) check() error {
	marks := strings.Count(r.From, layerMark)
	if r.From == "" || marks > 1 {
		return fmt.Errorf("from: want a name with at most one %s", layerMark)
	}
	r.name = template(r.From, map[string]string{"N": "[0-9]{1,4}"})
	if len(r.To) == 0 {
		return errors.New("to: names no stage")
	}
	for _, to := range r.To {
		if !names.Valid(strings.ReplaceAll(to, layerMark, "0")) {
			return fmt.Errorf("to: %q cannot be a stage's name", to)
		}
		if strings.Count(to, layerMark) > marks {
			return fmt.Errorf("to: %q has %s, from has none", to, layerMark)
		}
	}
	for _, text := range r.Axes {
		l, err := parseLayout(text)
		if err != nil {
			return err
		}
		for _, axis := range []string{r.Pad, r.Split} {
			if axis != "" && l.index(axis) < 0 {
				return fmt.Errorf("pad and split: %q is not an axis by itself in axes %q", axis, text)
			}
		}
		r.layouts = append(r.layouts, l)
	}
	if len(r.layouts) == 0 && (r.Pad != "" || r.Split != "") {
		return errors.New("pad and split need axes")
	}
	if n, ok := (Sizes{}).length(r.Split); r.Split != "" && (!ok || n != len(r.To)) {
		return fmt.Errorf("split: %q is not the number of stages in to, %d", r.Split, len(r.To))
	}
	return nil
}

// Check returns an error if a stage of the map, in layer 0, is none of the schedule's.
func (m *Map) Check(s *harness.Schedule) error {
	for _, r := range m.Stages {
		for _, to := range r.To {
			name := strings.ReplaceAll(to, layerMark, "0")
			if _, ok := s.Index(name); ok {
				continue
			}
			err := fmt.Errorf("map %s: %q: no stage is called %q", m.Name, r.From, to)
			if near := dump.Nearest(s, name); near != "" {
				err = fmt.Errorf("%w; did you mean %q?", err, near)
			}
			return err
		}
	}
	return nil
}
