package verify

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"checkpoint12/harness/verify/figures"
	"checkpoint12/model"
	"checkpoint12/model/hub"
	"checkpoint12/model/zoo"
)

// Weights is the number of what comes before every checkpoint: whether the
// weights are those that the figures are of.
const Weights = -1

// checkWeights says whether the weights are those that the figures are of: by the
// file's SHA-256 where the figures have it, else by the hash under which the
// Hugging Face hub's cache has kept it since it was fetched, and by the sums of
// the tensors. The checkpoints are not worth looking at when one of these fails.
// No findings means that there are no figures, or that they cannot say.
func (s *Suite) checkWeights() ([]Finding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Finding
	for _, k := range s.figures {
		if k.Model.Weights == nil {
			continue
		}
		if k.weights == nil {
			found, err := s.judgeWeights(k.Model.Weights)
			if err != nil {
				return nil, err
			}
			k.weights = append([]Finding{}, found...)
		}
		all = append(all, k.weights...)
	}
	return all, nil
}

func (s *Suite) judgeWeights(w *figures.Weights) ([]Finding, error) {
	r := ruling{kind: "weights", source: w.Source}
	sum, err := s.Model.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	tensors := ruling{kind: "weights", source: w.Source}
	right := tensors.tensors(w, s.Model)
	named, isNamed := s.Model.HubSHA256()
	switch {
	case w.SHA256 != "":
		f := r.finding(Weights, "weights", "sha256", 1)
		if sum != w.SHA256 {
			f.fail("%s: another file than the figures are of: SHA-256 %s, want %s", s.file(w.File), sum, w.SHA256)
			switch {
			case isNamed && named != sum:
				f.Note = "it is damaged: by its name in the hub's cache its SHA-256 was " + named
			case right && len(w.Tensors) > 0:
				f.Note = "the tensors that the figures know are the right ones: it may hold the same weights, stored in another way"
			}
		}
		if f, n := r.finding(Weights, "weights", "bytes", 1), s.Model.WeightsSize(); n != w.Bytes {
			f.fail("%s: %d bytes, want %d", s.file(w.File), n, w.Bytes)
		}
	case isNamed:
		f := r.finding(Weights, "weights", "hub_sha256", 1)
		if sum != named {
			f.fail("%s: the file is damaged: SHA-256 %s, and by its name in the hub's cache it was %s", s.file(hub.WeightsFile), sum, named)
		}
	}
	if commit, ok := s.commit(); ok && w.Commit != "" && commit != w.Commit && len(r.found) > 0 {
		f := &r.found[0]
		f.Note = joinNotes(f.Note, fmt.Sprintf("fetched at commit %.12s; the figures are of %.12s", commit, w.Commit))
	}
	found := append(r.found, tensors.found...)
	for i := range found {
		if found[i].Failed {
			found[i].Closer = s.fetch()
		}
	}
	return found, nil
}

func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// tensors judges the sums and extremes of single weights, a finding for each, and
// says whether all are right.
func (r *ruling) tensors(w *figures.Weights, m *model.Model) bool {
	for _, t := range w.Tensors {
		data, shape, ok := m.Weight(t.Name)
		if !ok || !slices.Equal(shape, t.Shape) {
			f := r.finding(Weights, "weights", t.Name, 1)
			f.fail("shape %v, want %v", shape, t.Shape)
			continue
		}
		got, want := sums(data), []float64{t.Sum, t.SumSq, t.Min, t.Max}
		allowed := make([]float64, len(want))
		for i, v := range want {
			allowed[i] = w.Tolerance.Allowed(math.Abs(v))
		}
		r.each(Weights, "weights", t.Name, []int{len(want)}, got[:], want, allowed,
			fmt.Sprintf("%.3g + %.3g*|want|: %s; values are sum, sum of squares, minimum, maximum", w.Tolerance.Abs, w.Tolerance.Rel, w.Tolerance.Reason))
	}
	return !slices.ContainsFunc(r.found, func(f Finding) bool { return f.Failed })
}

// sums is the sum, the sum of squares, the minimum and the maximum.
func sums(x []float32) [4]float64 {
	s := [4]float64{0, 0, math.Inf(1), math.Inf(-1)}
	for _, v := range x {
		v := float64(v)
		s[0] += v
		s[1] += v * v
		s[2], s[3] = min(s[2], v), max(s[3], v)
	}
	return s
}

// folder is where the weights lie; ok is false for a synthetic model made in
// memory.
func (s *Suite) folder() (dir string, ok bool) {
	if isFolder(s.argument) {
		return s.argument, true
	}
	dir, ok, err := zoo.Locate(s.argument)
	return dir, ok && err == nil
}

// file is the path of a file of weights, as far as there is one.
func (s *Suite) file(name string) string {
	dir, ok := s.folder()
	if !ok {
		return name
	}
	return filepath.Join(dir, name)
}

// commit is the revision under which the hub's cache has the weights.
func (s *Suite) commit() (string, bool) {
	dir, ok := s.folder()
	commit := filepath.Base(dir)
	return commit, ok && hub.IsCommit(commit)
}

// fetch is the command that gets the right file, "" for weights that are nowhere
// to be fetched.
func (s *Suite) fetch() string {
	if _, _, err := zoo.Source(s.Name); err != nil {
		return ""
	}
	return "go run . fetch " + s.Name
}

// WeightsUnknown is why nothing can be said of the weights: the figures name a
// commit and that is all, and no hash has been kept. It is "" where they have
// been looked at, or where there are no figures.
func (s *Suite) WeightsUnknown() string {
	found, err := s.checkWeights()
	if err != nil || len(found) > 0 {
		return ""
	}
	for _, k := range s.figures {
		if w := k.Model.Weights; w != nil {
			return fmt.Sprintf("nothing says what the weights should be: the figures have no hash, and one is kept only in the hub's cache; to get them at commit %.12s: %s",
				w.Commit, s.fetch())
		}
	}
	return ""
}
