package verify

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"checkpoint12/harness/verify/figures"
	"checkpoint12/model/hub"
	"checkpoint12/model/zoo"
)

// checkWeights compares the weights with those that the figures are of: by the
// file's SHA-256 where the figures have it, else by the hash under which the
// Hugging Face hub's cache has kept it since it was fetched, and by the sums of
// the tensors. The checkpoints are not worth looking at when one of these fails.
// No findings means that there are no figures, or that they cannot say.
func (s *Suite) checkWeights() ([]Finding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ofWeights != nil {
		return s.ofWeights, nil
	}
	var list []figures.Figure
	for _, f := range s.figures {
		if f.Reduce.OfWeights() {
			list = append(list, f)
		}
	}
	found, err := s.judgeWeights(list)
	s.ofWeights = found
	return found, err
}

func (s *Suite) judgeWeights(list []figures.Figure) ([]Finding, error) {
	found, hashed, commit := []Finding{}, false, (*figures.Figure)(nil)
	if len(list) == 0 {
		return found, nil
	}
	sum, err := s.Model.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	var tensors []Finding
	for i := range list {
		if list[i].Reduce == figures.Moments {
			tensors = append(tensors, s.judgeTensor(&list[i]))
		}
	}
	right := len(tensors) > 0 && !slices.ContainsFunc(tensors, func(f Finding) bool { return f.Failed })
	named, isNamed := s.Model.HubSHA256()
	for i := range list {
		g := &list[i]
		f := figureFinding(g, CheckWeights, "weights", 1)
		switch g.Reduce {
		case figures.SHA256:
			if hashed = true; sum != g.Want.Text {
				f = f.failing("%s: another file than the figures are of: SHA-256 %s, want %s", s.file(g.Stage), sum, g.Want.Text)
				switch {
				case isNamed && named != sum:
					f.Note = "it is damaged: by its name in the hub's cache its SHA-256 was " + named
				case right:
					f.Note = "the tensors that the figures know are the right ones: it may hold the same weights, stored in another way"
				}
			}
		case figures.Bytes:
			if n, want := s.Model.WeightsSize(), int64(g.Want.Values[0]); n != want {
				f = f.failing("%s: %d bytes, want %d", s.file(g.Stage), n, want)
			}
		case figures.Commit:
			commit = g
			continue
		default:
			continue
		}
		found = append(found, f)
	}
	if !hashed && isNamed && commit != nil {
		f := figureFinding(commit, CheckWeights, "weights", 1)
		f.Figure = commit.Kind() + ".hub_sha256"
		if sum != named {
			f = f.failing("%s: the file is damaged: SHA-256 %s, and by its name in the hub's cache it was %s", s.file(hub.WeightsFile), sum, named)
		}
		found = append(found, f)
	}
	if at, ok := s.commit(); ok && commit != nil && commit.Want.Text != at && len(found) > 0 {
		note := fmt.Sprintf("fetched at commit %.12s; the figures are of %.12s", at, commit.Want.Text)
		if found[0].Note != "" {
			note = found[0].Note + "; " + note
		}
		found[0].Note = note
	}
	found = append(found, tensors...)
	for i := range found {
		if found[i].Failed {
			found[i].Closer = s.fetch()
		}
	}
	return found, nil
}

// judgeTensor compares the sums and extremes of a weight with a figure.
func (s *Suite) judgeTensor(g *figures.Figure) Finding {
	f := figureFinding(g, CheckWeights, "weights", len(g.Want.Values))
	data, shape, ok := s.Model.Weight(g.Stage)
	if !ok || !slices.Equal(shape, g.Shape) {
		return f.failing("shape %v, want %v", shape, g.Shape)
	}
	got := moments(data)
	return compareFigure(f, g, got[:], func(int) float64 { return 0 })
}

// moments returns the sum, the sum of squares, the minimum and the maximum.
func moments[E float32 | float64](x []E) [4]float64 {
	m := [4]float64{0, 0, math.Inf(1), math.Inf(-1)}
	for _, v := range x {
		v := float64(v)
		m[0] += v
		m[1] += v * v
		m[2], m[3] = min(m[2], v), max(m[3], v)
	}
	return m
}

// folder returns where the weights lie; ok is false for a synthetic model made in
// memory.
func (s *Suite) folder() (dir string, ok bool) {
	if isFolder(s.argument) {
		return s.argument, true
	}
	dir, ok, err := zoo.Locate(s.argument)
	return dir, ok && err == nil
}

// file returns the path of a file of weights, as far as there is one.
func (s *Suite) file(name string) string {
	dir, ok := s.folder()
	if !ok {
		return name
	}
	return filepath.Join(dir, name)
}

// commit returns the revision under which the hub's cache has the weights.
func (s *Suite) commit() (string, bool) {
	dir, ok := s.folder()
	commit := filepath.Base(dir)
	return commit, ok && hub.IsCommit(commit)
}

// fetch returns the command that gets the right file, "" for weights that are
// nowhere to be fetched.
func (s *Suite) fetch() string {
	if _, _, err := zoo.Source(s.Name); err != nil {
		return ""
	}
	return s.command + " fetch " + s.Name
}

// WeightsUnknown returns why nothing can be said of the weights: the figures name
// a commit and that is all, and no hash has been kept. It is "" where they have
// been looked at, or where there are no figures.
func (s *Suite) WeightsUnknown() string {
	found, err := s.checkWeights()
	if err != nil || len(found) > 0 {
		return ""
	}
	for _, f := range s.figures {
		if f.Reduce == figures.Commit {
			return fmt.Sprintf("nothing says what the weights should be: the figures have no hash, and one is kept only in the hub's cache; to get them at commit %.12s: %s",
				f.Want.Text, s.fetch())
		}
	}
	return ""
}
