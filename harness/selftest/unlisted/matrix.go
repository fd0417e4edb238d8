package unlisted

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/selftest/naive"
	"checkpoint12/model"
)

// The floors: what part of the runs is answered at least. No answer may be false, and right
// engines get none.
const (
	floorFull    = 0.85
	floorModules = 0.75
	floorPairs   = 0.75
)

// A Tally counts runs.
type Tally struct {
	Runs  int `json:"runs"`
	Words int `json:"words"` // the first answer has the words, and nothing false is said
	False int `json:"false"` // something false is said
	None  int `json:"none"`  // there is no answer
}

func (t *Tally) add(o Tally) {
	t.Runs, t.Words, t.False, t.None = t.Runs+o.Runs, t.Words+o.Words, t.False+o.False, t.None+o.None
}

// share is the part of the runs that was answered.
func (t Tally) share() float64 { return float64(t.Words) / float64(max(t.Runs, 1)) }

// A Row is the faults of a kind.
type Row struct {
	Kind    Kind  `json:"kind"`
	Faults  int   `json:"faults"`
	Full    Tally `json:"full"`    // of dumps of every stage
	Modules Tally `json:"modules"` // of dumps of modules' outputs
}

// A Clean is the runs of a right engine.
type Clean struct {
	Engine string `json:"engine"`
	Runs   int    `json:"runs"`
	Alarms int    `json:"alarms"`
}

// An Open is a run without a useful answer.
type Open struct {
	Fault   string   `json:"fault"` // of a pair both, joined by +
	Model   string   `json:"model"`
	Modules bool     `json:"modules"` // the dump has modules' outputs alone
	Said    string   `json:"said"`
	False   []string `json:"false"` // what is false in that
}

// A Matrix is what was said of the faults.
type Matrix struct {
	Models []string `json:"models"`
	Kinds  []Row    `json:"kinds"`
	Pairs  Tally    `json:"pairs"`
	Right  []Clean  `json:"right"`
	Open   []Open   `json:"open"`
	Failed []string `json:"failed"` // floors that do not hold
}

// Passed reports whether every floor holds.
func (m *Matrix) Passed() bool { return len(m.Failed) == 0 }

// A job is a run to make.
type job struct {
	planted []Fault
	modules bool
	right   *rightEngine // if planted is nil

	verdict *verdict
}

// A rightEngine is an engine in whose runs nothing is to be found.
type rightEngine struct {
	name string
	naive.Engine
}

var engines = []rightEngine{
	{"summed forwards", naive.Engine{Sum: naive.Forwards}},
	{"summed backwards", naive.Engine{Sum: naive.Backwards}},
	{"summed in halves", naive.Engine{Sum: naive.Pairwise}},
	{"variance in one pass", naive.Engine{Sum: naive.Forwards, OnePass: true}},
}

// pairs is how many runs have two faults.
const pairs = 100

// Run plants every fault in every model, and pairs, and makes runs of right engines. progress,
// if set, is called after each run.
func Run(ctx context.Context, progress func(done, all int)) (*Matrix, error) {
	return runIn(ctx, Shapes, 1, progress)
}

// runIn is Run in the first of the Shapes, one run of so many.
func runIn(ctx context.Context, shapes []model.Config, oneOf int, progress func(done, all int)) (*Matrix, error) {
	byModel := make([][]*job, len(shapes))
	n := 0
	for i := range shapes {
		for k, j := range jobs(i) {
			if k%oneOf == 0 || j.right != nil {
				byModel[i] = append(byModel[i], j)
			}
		}
		n += len(byModel[i])
	}
	var mu sync.Mutex
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range shapes {
		g.Go(func() error {
			r, err := newRunner(c)
			for _, j := range byModel[i] {
				if err == nil {
					err = r.do(ctx, j)
				}
				if err != nil {
					return err
				}
				mu.Lock()
				if done++; progress != nil {
					progress(done, n)
				}
				mu.Unlock()
			}
			return r.model.Close()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return newMatrix(byModel), nil
}

// do makes the run of a job.
func (r *runner) do(ctx context.Context, j *job) (err error) {
	if j.planted != nil {
		j.verdict, err = r.plant(ctx, j.modules, j.planted...)
		return err
	}
	rec, err := r.engine(ctx, 1, j.modules, j.right.Engine)
	if err != nil {
		return err
	}
	j.verdict = &verdict{}
	return r.judge(ctx, rec, 1, j.modules, j.verdict)
}

// jobs returns the runs of a model.
func jobs(of int) (all []*job) {
	list := All()
	for _, modules := range []bool{false, true} {
		for _, f := range list {
			if !modules || f.NotFromModules == "" {
				all = append(all, &job{planted: []Fault{f}, modules: modules})
			}
		}
		for i := range engines {
			all = append(all, &job{right: &engines[i], modules: modules})
		}
	}
	rng := rand.New(rand.NewPCG(12, uint64(of)))
	for n := 0; n < (pairs+of)/len(Shapes); {
		a, b := list[rng.IntN(len(list))], list[rng.IntN(len(list))]
		if a.Identity == "" && b.Identity == "" && !meet(a, b, of) {
			all = append(all, &job{planted: []Fault{a, b}})
			n++
		}
	}
	return all
}

// meet reports whether two faults are in one stage.
func meet(a, b Fault, of int) bool {
	return slices.ContainsFunc(model.StageNames(Shapes[of], gpt2.Temperatures), func(stage string) bool { return a.At(steps, stage) && b.At(steps, stage) })
}

// An outcome is the judgement of a run with faults.
type outcome struct {
	Tally
	said  string
	wrong []string // what is false
}

// judged judges what is said of a run.
func (j *job) judged() (o outcome) {
	r := j.verdict
	if !r.seen() {
		return o
	}
	o.Runs, o.said = 1, r.headline()
	first, rest := r.planted[0], r.planted[1:]
	if len(rest) > 0 && len(r.introduced) > 0 && slices.Contains(rest[0].places, r.introduced[0]) {
		first, rest = rest[0], []planting{first}
	}
	for _, e := range r.explanations {
		place, f := harness.Place{Step: e.Step, Stage: e.Stage}, first
		for _, p := range rest {
			if slices.Contains(p.places, place) {
				f = p
			}
		}
		if _, err := faults.ByID(e.Fault); err == nil && !slices.Contains(f.Alike, e.Fault) {
			o.wrong = append(o.wrong, e.Fault+" at "+place.String())
		}
		o.wrong = append(o.wrong, f.claims(e.Text, len(rest) == 0)...)
	}
	for _, place := range r.introduced {
		if !j.modules && !slices.ContainsFunc(r.planted, func(p planting) bool { return slices.Contains(p.places, place) }) {
			o.wrong = append(o.wrong, "nothing is wrong with "+place.String())
		}
	}
	slices.Sort(o.wrong)
	o.wrong = slices.Compact(o.wrong)
	said := first.says(answer(o.said), r.config)
	for _, p := range rest {
		said = said && slices.ContainsFunc(r.explanations, func(e harness.Explanation) bool {
			return slices.Contains(p.places, harness.Place{Step: e.Step, Stage: e.Stage}) && p.says(answer(e.Text), r.config)
		})
	}
	switch {
	case len(o.wrong) > 0:
		o.False = 1
	case said:
		o.Words = 1
	case answer(o.said) == "":
		o.None = 1
	}
	return o
}

// newMatrix tallies the runs, by model.
func newMatrix(byModel [][]*job) *Matrix {
	m := &Matrix{Open: []Open{}, Failed: []string{}}
	for _, k := range Kinds {
		row := Row{Kind: k}
		for _, f := range All() {
			if f.Kind == k {
				row.Faults++
			}
		}
		m.Kinds = append(m.Kinds, row)
	}
	alarms := 0
	for i, jobs := range byModel {
		m.Models = append(m.Models, nameOf(Shapes[i]))
		for _, j := range jobs {
			if j.planted == nil {
				alarms += m.addRight(j)
				continue
			}
			m.addFault(j, m.Models[i])
		}
	}
	m.judge(alarms)
	return m
}

// judge says which floors do not hold.
func (m *Matrix) judge(alarms int) {
	full, modules := m.totals()
	for _, floor := range []struct {
		what  string
		tally Tally
		least float64
	}{
		{"full dumps", full, floorFull}, {"modules' outputs", modules, floorModules}, {"pairs", m.Pairs, floorPairs},
	} {
		if floor.tally.share() < floor.least {
			m.Failed = append(m.Failed, fmt.Sprintf("%s: %.1f%% answered, want %.0f%%", floor.what, 100*floor.tally.share(), 100*floor.least))
		}
		if floor.tally.False > 0 {
			m.Failed = append(m.Failed, fmt.Sprintf("%s: something false said of %d", floor.what, floor.tally.False))
		}
	}
	if alarms > 0 {
		m.Failed = append(m.Failed, fmt.Sprintf("right engines: %s", words.Count(alarms, "false alarm")))
	}
}

// totals returns the tallies of all kinds together.
func (m *Matrix) totals() (full, modules Tally) {
	for _, row := range m.Kinds {
		full.add(row.Full)
		modules.add(row.Modules)
	}
	return full, modules
}

// addRight adds a run of a right engine, and returns 1 if it is found wrong.
func (m *Matrix) addRight(j *job) (alarms int) {
	i := slices.IndexFunc(m.Right, func(c Clean) bool { return c.Engine == j.right.name })
	if i < 0 {
		i, m.Right = len(m.Right), append(m.Right, Clean{Engine: j.right.name})
	}
	if len(j.verdict.introduced)+len(j.verdict.explanations) > 0 {
		alarms = 1
	}
	m.Right[i].Runs++
	m.Right[i].Alarms += alarms
	return alarms
}

// addFault adds a run with faults.
func (m *Matrix) addFault(j *job, name string) {
	o := j.judged()
	id, to := j.planted[0].ID, &m.Pairs
	if len(j.planted) > 1 {
		id += "+" + j.planted[1].ID
	} else {
		row := &m.Kinds[slices.Index(Kinds, j.planted[0].Kind)]
		to = &row.Full
		if j.modules {
			to = &row.Modules
		}
	}
	to.add(o.Tally)
	if o.Runs > o.Words {
		m.Open = append(m.Open, Open{Fault: id, Model: name, Modules: j.modules, Said: o.said, False: append([]string{}, o.wrong...)})
	}
}
