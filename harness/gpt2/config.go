package gpt2

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/model"
)

// manifestConfig returns the first config in the sources' manifests. A source may be nil.
func manifestConfig(sources ...harness.Source) (cfg model.Config, ok bool) {
	for _, src := range sources {
		if src == nil || src.Manifest() == nil {
			continue
		}
		if cfg, err := model.ParseConfig(src.Manifest().Model.Config); err == nil {
			return cfg, true
		}
	}
	return model.Config{}, false
}

// fixedAxes have the same length in every step.
var fixedAxes = []string{"C", "H", "D", "F", "V"}

// sizesOf returns the lengths of the fixedAxes.
func sizesOf(cfg model.Config) align.Sizes {
	s := align.Sizes{}
	for _, axis := range fixedAxes {
		s[axis] = model.Dims{}.Length(cfg, axis)
	}
	return s
}

// ConfigOf returns the config of the sources' model: the first manifest's or, without
// any, as much as the shapes of the stages tell.
func ConfigOf(s *harness.Schedule, sources ...harness.Source) model.Config {
	if cfg, ok := manifestConfig(sources...); ok {
		return cfg
	}
	cfg := model.Config{Positions: 1 << 24}
	sizes := align.Sizes{}
	for _, src := range sources {
		for _, step := range src.Steps() {
			maps.DeleteFunc(sizes, func(axis string, _ int) bool { return !slices.Contains(fixedAxes, axis) })
			for _, st := range s.Stages() {
				if shape, ok := src.Shape(step, st.Name); ok {
					sizes.Learn(st.Axes, shape)
				}
			}
		}
	}
	for _, st := range s.Stages() {
		name, _ := model.ParseStage(st.Name)
		cfg.Layers = max(cfg.Layers, name.Layer+1)
	}
	cfg.Embd, cfg.Heads, cfg.Inner, cfg.Vocab = sizes["C"], sizes["H"], sizes["F"], sizes["V"]
	if cfg.Embd == 0 {
		cfg.Embd = sizes["H"] * sizes["D"]
	}
	return cfg
}

// CheckComplete returns an error if a stage of a step is neither among the files of the
// source's manifest nor left out by it. A source without a manifest may lack any.
func CheckComplete(s *harness.Schedule, src harness.Source) error {
	man := src.Manifest()
	if man == nil {
		return nil
	}
	steps := src.Steps()
	for step := range man.New {
		if !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	for _, stage := range model.StageNames(ConfigOf(s, src), man.Temperatures) {
		for _, step := range steps {
			leftOut := func(l harness.LeftOut) bool { return l.Covers(step, stage) }
			if _, ok := src.Shape(step, stage); !ok && !slices.ContainsFunc(man.LeftOut, leftOut) {
				return fmt.Errorf("%s is neither among the files of its manifest nor left out there with a reason",
					harness.Place{Step: step, Stage: stage})
			}
		}
	}
	return nil
}

// CheckModel returns an error if the source is the run of a model of another shape,
// whose replay would take long and tell nothing: by its manifest's config or, without
// one, because no tensor has a size that only the model gives it. One that fits is
// enough: the others are for the replay to judge.
func CheckModel(m *model.Model, src harness.Source) error {
	want := m.Config()
	if man := src.Manifest(); man != nil && len(man.Model.Config) > 0 {
		if err := want.CheckSettings(man.Model.Config); err != nil {
			return fmt.Errorf("%s was made with another model: %w", src.Name(), err)
		}
	}
	if got, ok := manifestConfig(src); ok {
		for _, d := range []struct {
			key       string
			got, want any
		}{
			{"n_layer", got.Layers, want.Layers}, {"n_embd", got.Embd, want.Embd}, {"n_head", got.Heads, want.Heads},
			{"n_inner", got.Inner, want.Inner}, {"vocab_size", got.Vocab, want.Vocab}, {"n_positions", got.Positions, want.Positions},
			{"layer_norm_epsilon", got.Eps, want.Eps},
		} {
			if d.got != d.want {
				return fmt.Errorf("%s was made with %s %v; %s has %v", src.Name(), d.key, d.got, m.Name(), d.want)
			}
		}
		return nil
	}
	misfits, example := 0, ""
	for _, step := range src.Steps() {
		for _, stage := range src.Stages(step) {
			axes := strings.Fields(model.Axes(stage))
			got, ok := src.Shape(step, stage)
			if !ok || len(got) == 0 || len(axes) == 0 {
				continue
			}
			last := axes[len(axes)-1]
			shape, err := model.Shape(want, stage, model.Dims{B: 1, T: 1})
			if err != nil || last == "S" || last == "B" {
				continue // of a size that is not the model's
			}
			n := shape[len(shape)-1]
			switch {
			case got[len(got)-1] != n:
				if misfits++; example == "" {
					example = fmt.Sprintf("%s is %d wide, %s's is %d", stage, got[len(got)-1], m.Name(), n)
				}
			case last != "V": // which other models have too
				return nil
			}
		}
	}
	if misfits < 2 {
		return nil
	}
	return fmt.Errorf("%s: no tensor fits: %s", src.Name(), example)
}
