package selftest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model"
)

// golden is the dump of an engine in memory: many runs are compared with it.
type golden struct {
	harness.Source

	mu   sync.Mutex
	kept map[harness.Place]harness.Tensor
}

// Tensor returns the dump's, read once.
func (g *golden) Tensor(step int, stage string) (harness.Tensor, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := harness.Place{Step: step, Stage: stage}
	if t, ok := g.kept[at]; ok {
		return t, nil
	}
	t, err := g.Source.Tensor(step, stage)
	if err == nil {
		g.kept[at] = t
	}
	return t, err
}

// run returns the first n steps of the golden's run, on the same tokens.
func (g *golden) run(n int) gpt2.Run {
	prompt, tokens := g.Manifest().Tokens, g.Tokens()
	feed := make([][]int, tokens.Shape[0])
	for b := range feed {
		for _, id := range tokens.I64[b*tokens.Shape[1]+len(prompt[0]):][:n-1] {
			feed[b] = append(feed[b], int(id))
		}
	}
	return gpt2.Run{Tokens: prompt, New: n, Feed: feed, Temperatures: gpt2.Temperatures}
}

// openGoldens opens the goldens of the model in a folder, by engine and case.
func openGoldens(m *model.Model, s *harness.Schedule, root string) (map[string]map[string]*golden, error) {
	sum, err := m.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob(filepath.Join(root, m.Name(), "*", "[^.]*"))
	if err != nil {
		return nil, err
	}
	engines := map[string]map[string]*golden{}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		d, _, err := dump.Open(dir, s)
		if err != nil {
			return nil, err
		}
		if d.Manifest() == nil {
			return nil, fmt.Errorf("%s: has no %s, so nothing binds it to the model", dir, dump.ManifestFile)
		}
		if err := d.Manifest().CheckWeights(m.Name(), sum); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		engine := filepath.Base(dir)
		if engines[engine] == nil {
			engines[engine] = map[string]*golden{}
		}
		engines[engine][filepath.Base(filepath.Dir(dir))] = &golden{Source: d, kept: map[harness.Place]harness.Tensor{}}
	}
	return engines, nil
}
