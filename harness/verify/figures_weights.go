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
	sum, err := s.Model.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	kept, isKept := s.Model.HubSHA256()
	hash, commit := firstOf(list, figures.SHA256), firstOf(list, figures.Commit)
	if hash == nil && commit != nil && isKept {
		hash = &figures.Figure{
			Name: commit.Kind() + ".hub_sha256", Source: commit.Source,
			Stage: hub.WeightsFile, Reduce: figures.SHA256, Want: figures.Want{Text: kept},
		}
		list = append([]figures.Figure{*hash}, list...)
	}
	found, tensors, wrong := []Finding{}, 0, 0
	for i := range list {
		g := &list[i]
		if !g.Reduce.OfWeights() || g.Reduce == figures.Commit {
			continue
		}
		f := s.judgeWeight(g, sum)
		if g.Reduce == figures.Moments {
			if tensors++; f.Failed {
				wrong++
			}
		}
		found = append(found, f)
	}
	var notes []string
	switch {
	case hash == nil || sum == hash.Want.Text:
	case isKept && kept != sum:
		notes = append(notes, "it is damaged: by its name in the hub's cache its SHA-256 was "+kept)
	case tensors > 0 && wrong == 0:
		notes = append(notes, "the tensors that have figures are correct: it may hold the same weights, stored in another way")
	}
	if at := filepath.Base(s.folder()); hub.IsCommit(at) && commit != nil && commit.Want.Text != at {
		notes = append(notes, fmt.Sprintf("fetched at commit %.12s; the figures are of %.12s", at, commit.Want.Text))
	}
	if len(found) > 0 {
		found[0].Note = strings.Join(notes, "; ")
	}
	return found, nil
}

// firstOf returns the first figure of a reduce, or nil.
func firstOf(list []figures.Figure, reduce figures.Reduce) *figures.Figure {
	if i := slices.IndexFunc(list, func(f figures.Figure) bool { return f.Reduce == reduce }); i >= 0 {
		return &list[i]
	}
	return nil
}

// judgeWeight compares the weights, of which the file has the hash sum, with one figure.
func (s *Suite) judgeWeight(g *figures.Figure, sum string) Finding {
	f := figureFinding(g, CheckWeights, "weights", max(1, len(g.Want.Values)))
	file := filepath.Join(s.folder(), g.Stage)
	switch g.Reduce {
	case figures.SHA256:
		if sum != g.Want.Text {
			f = f.failing("%s: not the file that the figures are of: SHA-256 %s, want %s", file, sum, g.Want.Text)
		}
	case figures.Bytes:
		if n, want := s.Model.WeightsSize(), int64(g.Want.Values[0]); n != want {
			f = f.failing("%s: %d bytes, want %d", file, n, want)
		}
	case figures.Moments:
		if data, shape, ok := s.Model.Weight(g.Stage); !ok || !slices.Equal(shape, g.Shape) {
			f = f.failing("shape %v, want %v", shape, g.Shape)
		} else {
			got := moments(data)
			f = compareFigure(f, g, got[:], func(int) float64 { return 0 })
		}
	}
	if f.Failed {
		f.Closer = s.fetch()
	}
	return f
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

// fetch returns the command that gets the correct file, or "" if none does.
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
	if commit := firstOf(s.figures, figures.Commit); commit != nil {
		return fmt.Sprintf("nothing says what the weights should be: the figures have no hash, "+
			"and one is kept only in the hub's cache; to get them at commit %.12s: %s", commit.Want.Text, s.fetch())
	}
	return ""
}
