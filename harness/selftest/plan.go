package selftest

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// injection is one fault at one place of one case.
type injection struct {
	faults.Fault
	at   harness.Place
	name string // of the case
}

// kind is the stage's name with * for the layer or the temperature.
func (in injection) kind() string {
	s, _ := model.ParseStage(in.at.Stage)
	return s.Kind()
}

// faultRun is a run of a case with one fault or two in it.
type faultRun []injection

func (f faultRun) String() string {
	var parts []string
	for _, in := range f {
		parts = append(parts, fmt.Sprintf("%s at %s", in.ID, in.at))
	}
	return fmt.Sprintf("%s: %s", f[0].name, strings.Join(parts, " and "))
}

// atOtherStep is the run of one fault with the fault at the other step.
func (f faultRun) atOtherStep() faultRun {
	in := f[0]
	in.at.Step = steps - 1 - in.at.Step
	return faultRun{in}
}

// steps are the prompt and one decode step.
const steps = 2

// Cases with goldens of every stage of a block at the first two steps: prompts of
// two and three tokens, and a batch. Faults of the stages after the last block,
// which are as wide as the vocabulary, are planted in the first two of them.
var (
	blockCases = []string{"hello", "quick-brown", "batch-of-two"}
	headCases  = blockCases[:2]
)

// allFaultRuns returns the runs with each fault alone, with two, and with the pair in
// which the tie rule shows. With quick every fifth fault alone is in a pair.
func allFaultRuns(cfg model.Config, quick bool) ([]faultRun, error) {
	alone, every := plan(cfg, quick), 1
	if quick {
		every = 5
	}
	shown, err := tie()
	return slices.Concat(alone, pairs(alone, every), []faultRun{shown}), err
}

// plan returns the runs of every fault alone: in each stage where it can sit, at the first, the
// middle and the last layer, at both steps. With quick it is one of these layers,
// one of the steps, and one temperature, whichever comes round.
func plan(cfg model.Config, quick bool) []faultRun {
	var all []faultRun
	turn := 0
	for i, f := range faults.Catalogue() {
		for j, stages := range sites(cfg, f) {
			if quick && len(stages) > 1 {
				stages = stages[shownAt(f, stages, i+j):][:1]
			}
			for _, stage := range stages {
				names := blockCases[turn%len(blockCases):][:1]
				if isHead(stage) {
					if names = headCases; quick {
						names = headCases[turn%len(headCases):][:1]
					}
				}
				for step := range steps {
					if quick && step != turn%steps {
						continue
					}
					for _, name := range names {
						all = append(all, faultRun{{f, harness.Place{Step: step, Stage: stage}, name}})
					}
				}
				turn++
			}
		}
	}
	return all
}

// sites returns the stages in which a fault is planted, those of one kind together.
func sites(cfg model.Config, f faults.Fault) [][]string {
	var all [][]string
	at := map[string]int{}
	for _, stage := range model.StageNames(cfg, gpt2.Temperatures) {
		name, _ := model.ParseStage(stage)
		if !f.At(stage) || !slices.Contains([]int{-1, 0, cfg.Layers / 2, cfg.Layers - 1}, name.Layer) {
			continue
		}
		kind := name.Kind()
		if _, ok := at[kind]; !ok {
			at[kind] = len(all)
			all = append(all, nil)
		}
		all[at[kind]] = append(all[at[kind]], stage)
	}
	return all
}

// shownAt chooses one of the stages: the turn's, unless the fault may be the
// identity there.
func shownAt(f faults.Fault, stages []string, turn int) int {
	i := turn % len(stages)
	if in := (injection{Fault: f, at: harness.Place{Stage: stages[i]}}); identity(faultRun{in}, in, identical) >= 0 {
		return 0
	}
	return i
}

// pairs puts each injection of the plan into one run with another of another
// stage, far from it in the plan and so of another subject.
func pairs(alone []faultRun, every int) []faultRun {
	var all []faultRun
	used := make([]bool, len(alone))
	for i := 0; i < len(alone); i += every {
		if used[i] {
			continue
		}
		for k := range alone {
			j := (i + len(alone)/3 + 7*k) % len(alone)
			a, b := alone[i][0], alone[j][0]
			if used[j] || i == j || a.at.Stage == b.at.Stage || a.ID == b.ID {
				continue
			}
			used[i], used[j] = true, true
			b.name = a.name
			all = append(all, faultRun{a, b})
			break
		}
	}
	return all
}

// tie is the pair in which the tie rule shows: where every logit is 0.
func tie() (faultRun, error) {
	untied, err := faults.ByID("head_untied")
	if err != nil {
		return nil, err
	}
	rule, err := faults.ByID("tie_rule")
	return faultRun{
		{untied, harness.Place{Stage: "logits"}, headCases[0]},
		{rule, harness.Place{Stage: "next_token"}, headCases[0]},
	}, err
}
