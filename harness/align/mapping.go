package align

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model/strictjson"
)

// maxMapping bounds what is read as a mapping file.
const maxMapping = 1 << 20

// Mapping joins the names that an engine gives its tensors to stages. It is a
// JSON file:
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
// {N} stands for the number of a layer, {step} for that of a step, {name} for a
// name, which may have slashes. Where a template of files has no {step}, all is
// of the prompt. A name that no rule takes and that is a stage's is that stage;
// any other is named in a note. Of two rules that give the same stage the first
// whose tensor is there counts.
//
// axes says in which layouts the tensor may be, by the schedule's letters, where
// a number is an axis of that length and merged axes stand in parentheses; left
// out, they are found by the shape. pad is an axis that may be longer than it
// should, of which the rest is cut off. split is an axis along which the tensor
// is cut into as many stages as to lists. Without split, to lists all that the
// tensor may be: it is each whose shape it has.
type Mapping struct {
	Name      string
	About     string
	Notes     []string
	FirstStep int
	Tokens    string

	files    string
	file     *regexp.Regexp // of a path below the dump: the step, if there is one, and the name
	stepAt   int            // submatch of the step; 0 if there is none
	nameAt   int            // submatch of the name
	prefixes []string
	rules    []mapRule
	ignore   []ignoreRule
}

// mapRule is one entry of stages.
type mapRule struct {
	From  string  `json:"from"`
	To    oneMore `json:"to"`
	Axes  oneMore `json:"axes"`
	Pad   string  `json:"pad"`
	Split string  `json:"split"`

	from    *regexp.Regexp // the number of the layer is its submatch
	layouts []layout
}

// ignoreRule is one entry of ignore; From is a pattern as Match takes it.
type ignoreRule struct {
	From string `json:"from"`
	Why  string `json:"why"`
}

// oneMore is a list in which JSON may have a single string.
type oneMore []string

func (o *oneMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// ReadMapping reads a mapping file. Errors name it.
func ReadMapping(path string) (*Mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMapping+1))
	if err != nil {
		return nil, err
	}
	m, err := ParseMapping(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ParseMapping reads a mapping strictly: one JSON object of schema 1, no unknown
// field, no key twice, nothing after it, every rule well formed.
func ParseMapping(b []byte) (*Mapping, error) {
	if len(b) > maxMapping {
		return nil, fmt.Errorf("longer than %d bytes", maxMapping)
	}
	var in struct {
		Schema    *int         `json:"schema"`
		Name      string       `json:"name"`
		About     string       `json:"about"`
		Notes     []string     `json:"notes"`
		Files     string       `json:"files"`
		FirstStep int          `json:"first_step"`
		Tokens    string       `json:"tokens"`
		Prefixes  []string     `json:"prefixes"`
		Stages    []mapRule    `json:"stages"`
		Ignore    []ignoreRule `json:"ignore"`
	}
	if err := strictjson.Unmarshal(b, &in); err != nil {
		return nil, err
	}
	if in.Schema == nil || *in.Schema != 1 {
		return nil, errors.New(`"schema" is not 1`)
	}
	m := &Mapping{
		Name: in.Name, About: in.About, Notes: in.Notes, FirstStep: in.FirstStep, Tokens: in.Tokens,
		files: in.Files, prefixes: in.Prefixes, rules: in.Stages, ignore: in.Ignore,
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// check sets the defaults and says what is wrong, if anything is.
func (m *Mapping) check() error {
	switch {
	case m.Name == "":
		return errors.New("name is missing")
	case m.FirstStep < 0:
		return fmt.Errorf("first_step is %d, want 0 or more", m.FirstStep)
	case len(m.rules) == 0:
		return errors.New("stages is empty")
	case slices.Contains(m.prefixes, ""):
		return errors.New("prefixes: one is empty")
	}
	if m.Tokens == "" {
		m.Tokens = harness.TokensFile
	}
	if !filepath.IsLocal(m.Tokens) {
		return fmt.Errorf("tokens is %q: want a path below the dump", m.Tokens)
	}
	if m.files == "" {
		m.files = "step_{step}/{name}.npy"
	}
	if err := m.parseFiles(); err != nil {
		return err
	}
	for i := range m.rules {
		if err := m.rules[i].check(); err != nil {
			return fmt.Errorf("stages: %q: %w", m.rules[i].From, err)
		}
	}
	for _, r := range m.ignore {
		if err := names.CheckPattern(r.From); err != nil {
			return fmt.Errorf("ignore: %w", err)
		}
		if r.Why == "" {
			return fmt.Errorf("ignore: %q is ignored without a why", r.From)
		}
	}
	return nil
}

// parseFiles reads the template of paths.
func (m *Mapping) parseFiles() error {
	names, steps := strings.Count(m.files, "{name}"), strings.Count(m.files, "{step}")
	if names != 1 || steps > 1 || !strings.HasSuffix(m.files, ".npy") || strings.HasPrefix(m.files, "/") {
		return fmt.Errorf("files is %q: want a path below the dump with {name}, at most one {step}, and .npy at its end", m.files)
	}
	expr := regexp.QuoteMeta(m.files)
	expr = strings.Replace(expr, `\{name\}`, `(.+)`, 1)
	expr = strings.Replace(expr, `\{step\}`, `([0-9]{1,9})`, 1)
	m.file, m.nameAt = regexp.MustCompile("^"+expr+"$"), 1
	if steps == 1 {
		m.nameAt, m.stepAt = 2, 1
		if strings.Index(m.files, "{name}") < strings.Index(m.files, "{step}") {
			m.nameAt, m.stepAt = 1, 2
		}
	}
	return nil
}

const layerMark = "{N}"

// check reads a rule and says what is wrong with it, if anything is.
func (r *mapRule) check() error {
	marks := strings.Count(r.From, layerMark)
	if r.From == "" || marks > 1 {
		return fmt.Errorf("from: want a name with at most one %s", layerMark)
	}
	expr := strings.Replace(regexp.QuoteMeta(r.From), `\{N\}`, `([0-9]{1,4})`, 1)
	r.from = regexp.MustCompile("^" + expr + "$")
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
		if r.Pad != "" && l.place(r.Pad) < 0 {
			return fmt.Errorf("pad: %q stands nowhere alone in axes %q", r.Pad, text)
		}
		if r.Split != "" && l.place(r.Split) < 0 {
			return fmt.Errorf("split: %q stands nowhere alone in axes %q", r.Split, text)
		}
		r.layouts = append(r.layouts, l)
	}
	if len(r.layouts) == 0 && (r.Pad != "" || r.Split != "") {
		return errors.New("pad and split need axes")
	}
	if n, ok := (Sizes{}).of(r.Split); r.Split != "" && (!ok || n != len(r.To)) {
		return fmt.Errorf("split: %q is not the number of stages in to, %d", r.Split, len(r.To))
	}
	return nil
}

// layerOf says whether the rule takes a name, and the number of its layer.
func (r *mapRule) layerOf(name string) (string, bool) {
	m := r.from.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	if len(m) == 1 {
		return "", true
	}
	if n := strings.TrimLeft(m[1], "0"); n != "" {
		return n, true
	}
	return "0", true
}

// Check says whether every stage that the mapping names is one of the
// schedule's, in layer 0.
func (m *Mapping) Check(s *harness.Schedule) error {
	for _, r := range m.rules {
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
