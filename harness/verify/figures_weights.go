package verify

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness/verify/figures"
	"checkpoint12/model/hub"
	"checkpoint12/model/zoo"
)

// checkWeights compares the weights with the figures': by the file's SHA-256 or, if the
// figures have none, the one kept by the Hugging Face hub's cache, and by sums of the
// tensors. If it fails, the checkpoints mean nothing. Without such figures nothing is found.
func (s *Suite) checkWeights() ([]Finding, error) {
	var err error
	if s.ofWeights == nil {
		s.ofWeights, err = s.judgeWeights(s.figures)
	}
	return s.ofWeights, err
}

func (s *Suite) judgeWeights(list []figures.Figure) ([]Finding, error) {
	if !slices.ContainsFunc(list, func(f figures.Figure) bool { return f.Reduce.OfWeights() }) {
		return []Finding{}, nil
	}
	sum, err := s.Model.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	kept, isKept := s.Model.HubSHA256()
	var files, tensors []Finding
	var hash, commit *figures.Figure
	for i := range list {
		g := &list[i]
		f := figureFinding(g, CheckWeights, "weights", max(1, len(g.Want.Values)))
		switch g.Reduce {
		case figures.SHA256:
			if hash = g; sum != g.Want.Text {
				f = f.failing("%s: not the file that the figures are of: SHA-256 %s, want %s", s.file(g.Stage), sum, g.Want.Text)
			}
			files = append(files, f)
		case figures.Bytes:
			if n, want := s.Model.WeightsSize(), int64(g.Want.Values[0]); n != want {
				f = f.failing("%s: %d bytes, want %d", s.file(g.Stage), n, want)
			}
			files = append(files, f)
		case figures.Moments:
			data, shape, ok := s.Model.Weight(g.Stage)
			if got := moments(data); !ok || !slices.Equal(shape, g.Shape) {
				f = f.failing("shape %v, want %v", shape, g.Shape)
			} else {
				f = compareFigure(f, g, got[:], func(int) float64 { return 0 })
			}
			tensors = append(tensors, f)
		case figures.Commit:
			commit = g
		}
	}
	if hash == nil && isKept && commit != nil {
		f := figureFinding(commit, CheckWeights, "weights", 1)
		f.Figure = commit.Kind() + ".hub_sha256"
		if sum != kept {
			f = f.failing("%s: the file is damaged: SHA-256 %s, and by its name in the hub's cache it was %s", s.file(hub.WeightsFile), sum, kept)
		}
		files = append(files, f)
	}
	var notes []string
	if hash != nil && sum != hash.Want.Text {
		switch {
		case isKept && kept != sum:
			notes = append(notes, "it is damaged: by its name in the hub's cache its SHA-256 was "+kept)
		case len(tensors) > 0 && !slices.ContainsFunc(tensors, func(f Finding) bool { return f.Failed }):
			notes = append(notes, "the tensors that have figures are correct: it may hold the same weights, stored in another way")
		}
	}
	if at := filepath.Base(s.folder()); hub.IsCommit(at) && commit != nil && commit.Want.Text != at {
		notes = append(notes, fmt.Sprintf("fetched at commit %.12s; the figures are of %.12s", at, commit.Want.Text))
	}
	if len(files) > 0 {
		files[0].Note = strings.Join(notes, "; ")
	}
	found := append(files, tensors...)
	for i := range found {
		if found[i].Failed {
			found[i].Closer = s.fetch()
		}
	}
	return found, nil
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

// folder returns where the weights lie; "" for a synthetic model made in memory.
func (s *Suite) folder() string {
	if isFolder(s.o.Model) {
		return s.o.Model
	}
	dir, _, _ := zoo.Locate(s.o.Model)
	return dir
}

// file returns the path of a file of weights, as far as there is one.
func (s *Suite) file(name string) string { return filepath.Join(s.folder(), name) }

// fetch returns the command that gets the right file, or "" if none does.
func (s *Suite) fetch() string {
	if _, _, err := zoo.Source(s.Name); err != nil {
		return ""
	}
	return s.o.Command + " fetch " + s.Name
}

// WeightsUnknown returns why the weights cannot be checked: the figures have no more than
// a commit, and no hash was kept. It is "" if they were checked or have no figures.
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
