package cli

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/verify"
	"checkpoint12/harness/verify/figures"
)

// documents are the project's, from its root.
var documents = []string{
	"README.md", "CHECKPOINTS.md", "harness/README.md", "harness/selftest/README.md", "goldens/README.md",
	"reference/mistralrs/README.md", "model/synthetic/README.md",
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestStagesDocumented holds the tables in CHECKPOINTS.md against the schedule:
// every stage, in execution order, with its checkpoint, and its bound with the
// reason for it.
func TestStagesDocumented(t *testing.T) {
	text := document(t, "CHECKPOINTS.md")
	stages := table(t, text, "| stage | shape | value | cp |", 4)
	bounds := table(t, text, "| stage | abs | rel | why |", 4)
	// The residual sums of the first block have a checkpoint, and so a row, of
	// their own: h.N is any other block there, and any block elsewhere.
	var want, got []string
	for _, s := range gpt2.Schedule(1, []float64{0.5}).Stages() {
		name := strings.Replace(s.Name, "probs_t0.5", "probs_tX", 1)
		if strings.HasPrefix(name, "h.0.resid") {
			want = append(want, name)
		}
		want = append(want, strings.Replace(name, "h.0.", "h.N.", 1))
	}
	schedule := gpt2.Schedule(2, []float64{0.5})
	for i, row := range stages {
		name := strings.Trim(row[0], "`")
		got = append(got, name)
		name = strings.Replace(strings.Replace(name, "h.N.", "h.1.", 1), "probs_tX", "probs_t0.5", 1)
		s, ok := schedule.Stage(name)
		if !ok || i >= len(bounds) || bounds[i][0] != row[0] {
			t.Errorf("CHECKPOINTS.md: row %d, %s: no stage, or not in the same row of both tables", i+1, row[0])
			continue
		}
		checkpoint, _ := strconv.Atoi(row[3]) // empty: 0
		abs, err1 := strconv.ParseFloat(bounds[i][1], 64)
		rel, err2 := strconv.ParseFloat(bounds[i][2], 64)
		if err1 != nil || err2 != nil || checkpoint != s.Checkpoint || abs != s.Tolerance.Abs || rel != s.Tolerance.Rel || bounds[i][3] != s.Tolerance.Reason {
			t.Errorf("CHECKPOINTS.md: %s has %s, %q; want checkpoint %d, %v, %v, %q", row[0], row[3], bounds[i][1:],
				s.Checkpoint, s.Tolerance.Abs, s.Tolerance.Rel, s.Tolerance.Reason)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stages in CHECKPOINTS.md (-want +got):\n%s", diff)
	}
}

// table is the rows of the table with that head.
func table(t *testing.T, text, head string, columns int) [][]string {
	t.Helper()
	_, body, ok := strings.Cut(text, "\n"+head+"\n")
	if !ok {
		t.Fatalf("no table %s", head)
	}
	body, _, _ = strings.Cut(body, "\n\n")
	var rows [][]string
	for _, line := range strings.Split(body, "\n")[1:] {
		const bar = "\x00" // one that is part of a cell
		line = strings.NewReplacer(`\*`, "*", `\|`, bar).Replace(line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != columns {
			t.Fatalf("%s: %d columns, want %d", line, len(cells), columns)
		}
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), bar, "|")
		}
		rows = append(rows, cells)
	}
	return rows
}

// TestCausesDocumented holds the headings and causes in CHECKPOINTS.md against
// what a failure prints.
func TestCausesDocumented(t *testing.T) {
	text := document(t, "CHECKPOINTS.md")
	for n := 1; n <= verify.CheckpointCount; n++ {
		d := verify.Info(n)
		_, section, ok := strings.Cut(text, "\n### "+strconv.Itoa(n)+" "+d.Title+"\n")
		if !ok {
			t.Errorf("CHECKPOINTS.md: no section %d %s", n, d.Title)
			continue
		}
		section, _, _ = strings.Cut(section, "\n#")
		if want := "go test -run 'Checkpoint" + strconv.Itoa(n) + "$'"; !strings.Contains(section, want) {
			t.Errorf("CHECKPOINTS.md: section %d lacks the command %s", n, want)
		}
		if n == verify.CheckpointCount {
			continue // its causes are the other checkpoints'
		}
		for _, cause := range d.CausesAt() {
			if !strings.Contains(section, "\n- "+cause+"\n") {
				t.Errorf("CHECKPOINTS.md: section %d lacks the cause %q", n, cause)
			}
		}
	}
}

// TestCommandsDocumented parses every command line of this program in the
// documents: each must have the flags that it is shown with.
func TestCommandsDocumented(t *testing.T) {
	line := regexp.MustCompile("(?m)(?:^\\s*|\\$ |`|&& )go run \\. ?([^`\\n|&]*)")
	checked := 0
	for _, name := range documents {
		for _, m := range line.FindAllStringSubmatch(document(t, name), -1) {
			command, _, _ := strings.Cut(m[1], " #")
			words := strings.Fields(command)
			root := (&app{program: "go run ."}).root(nil)
			c, rest, err := root.Find(words)
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err != nil || len(words) > 0 && c == root && !strings.HasPrefix(words[0], "-") {
				t.Errorf("%s: go run . %s: %v", name, m[1], err)
			}
			checked++
		}
	}
	if checked < 10 {
		t.Errorf("only %d commands found in the documents", checked)
	}

	// And README's table has all of them.
	var want, got []string
	for _, c := range (&app{program: "go run ."}).root(nil).Commands() {
		if c.IsAvailableCommand() {
			want = append(want, "`go run . "+c.Name()+"`")
		}
	}
	for _, row := range table(t, document(t, "README.md"), "| command | does |", 2) {
		got = append(got, row[0])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commands in README.md's table (-want +got):\n%s", diff)
	}
}

// TestLinksLead follows every link of a document to another file or heading.
func TestLinksLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	anchor := regexp.MustCompile(`[^a-z0-9 -]`)
	followed := 0
	for _, name := range documents {
		for _, m := range link.FindAllStringSubmatch(document(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := name
			if m[1] != "" {
				target = path.Join(path.Dir(name), m[1])
			}
			followed++
			if _, err := os.Stat("../../" + target); err != nil {
				t.Errorf("%s: %s: %v", name, m[0], err)
				continue
			}
			if m[2] == "" {
				continue
			}
			found := false
			for line := range strings.Lines(document(t, target)) {
				if heading, ok := strings.CutPrefix(line, "#"); ok {
					heading = strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
					found = found || m[2] == "#"+strings.ReplaceAll(anchor.ReplaceAllString(heading, ""), " ", "-")
				}
			}
			if !found {
				t.Errorf("%s: %s: no such heading", name, m[0])
			}
		}
	}
	if followed < 20 {
		t.Errorf("only %d links found in the documents", followed)
	}
}

// TestFiguresDocumented holds the table of figures in CHECKPOINTS.md against the
// tolerances in the file: each figure is in the row of its name, or of its kind.
func TestFiguresDocumented(t *testing.T) {
	file, err := figures.Published()
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]figures.Tolerance{}
	for _, row := range table(t, document(t, "CHECKPOINTS.md"), "| figure | cp | abs | rel | of |", 5) {
		abs, err1 := strconv.ParseFloat(row[2], 64)
		rel, err2 := strconv.ParseFloat(row[3], 64)
		if err1 != nil || err2 != nil || row[4] == "" {
			t.Errorf("%q", row)
		}
		documented[strings.Trim(row[0], "`")] = figures.Tolerance{Abs: abs, Rel: rel}
	}
	seen := map[string]bool{}
	for model, list := range file.Models {
		for _, f := range list {
			if f.Exact() {
				continue
			}
			name := f.Name
			if _, ok := documented[name]; !ok {
				name = f.Kind()
			}
			seen[name] = true
			if want, ok := documented[name]; !ok || f.Abs != want.Abs || f.Rel != want.Rel {
				t.Errorf("%s of %s: %g and %g in the file, %g and %g in CHECKPOINTS.md", f.Name, model, f.Abs, f.Rel, want.Abs, want.Rel)
			}
		}
	}
	for name := range documented {
		if !seen[name] {
			t.Errorf("CHECKPOINTS.md: %s is no figure", name)
		}
	}
}

// TestSuggestedFoldersAreIgnored asks git's list for every folder that a hint of
// the program suggests to write to.
func TestSuggestedFoldersAreIgnored(t *testing.T) {
	suggested := regexp.MustCompile(`"(checkpoint12-[a-z]+)"|--out (checkpoint12-[a-z]+)`)
	ignored := strings.Fields(document(t, ".gitignore"))
	seen := 0
	for _, file := range []string{"endtoend.go", "engine_report.go", "figures.go"} {
		for _, m := range suggested.FindAllStringSubmatch(document(t, "harness/verify/"+file), -1) {
			seen++
			if !slices.ContainsFunc(ignored, func(pattern string) bool {
				ok, _ := path.Match(strings.Trim(pattern, "/"), m[1]+m[2])
				return ok
			}) {
				t.Errorf("%s: %s is not in .gitignore", file, m[1]+m[2])
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d folders found in the hints", seen)
	}
}
