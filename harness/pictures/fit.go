package pictures

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/report/page"
)

// Bounds on what a page holds, whatever was judged: the bytes of its maps, of one of several
// maps at least, of the maps and cards together, and the length of its lists.
const (
	mapBytes, leastBytes, pageBytes = 520_000, 30_000, 720_000

	mostFindings, mostTexts, mostNotes, mostFacts, mostTokens = 60, 40, 40, 150, 200
)

// fit makes a page small enough: what is wrong stays, up to a bound, and of what is right a
// sample. The page says what it leaves out.
func fit(p *page.Page) {
	slices.SortStableFunc(p.Findings, func(a, b page.Finding) int { // what is accepted comes last
		return min(1, len(a.Why)) - min(1, len(b.Why))
	})
	for _, l := range []struct {
		n         int
		one, many string
	}{
		{cut(&p.Findings, mostFindings), "finding", "findings"}, {cut(&p.Texts, mostTexts), "text", "texts"},
		{cut(&p.Notes, mostNotes), "note", "notes"}, {cut(&p.Facts, mostFacts), "version or hash", "versions and hashes"},
		{fitTokens(p), "token", "tokens"},
	} {
		leave(p, l.n, l.one, l.many)
	}
	fitMaps(p)
	fitCards(p)
}

// leave says that so many of something are left out.
func leave(p *page.Page, n int, one, many string) {
	switch {
	case n == 1:
		p.Left = append(p.Left, "1 "+one)
	case n > 1:
		p.Left = append(p.Left, fmt.Sprintf("%d %s", n, many))
	}
}

// cut cuts a list, and returns by how much.
func cut[T any](list *[]T, most int) (left int) {
	left = max(0, len(*list)-most)
	*list = (*list)[:len(*list)-left]
	return left
}

// fitTokens leaves out tokens, first those that are the golden's.
func fitTokens(p *page.Page) (left int) {
	room, keep := mostTokens, map[[2]int]bool{}
	for _, same := range []bool{false, true} {
		for i := range p.Runs {
			for k, t := range p.Runs[i].Tokens {
				if t.Same == same && room > 0 {
					keep[[2]int{i, k}], room = true, room-1
				}
			}
		}
	}
	for i := range p.Runs {
		var kept []page.Token
		for k, t := range p.Runs[i].Tokens {
			if keep[[2]int{i, k}] {
				kept = append(kept, t)
			}
		}
		left += len(p.Runs[i].Tokens) - len(kept)
		p.Runs[i].Tokens = kept
	}
	return left
}

// sizeOf returns how many bytes something takes in a page.
func sizeOf(v any) int {
	data, _ := json.Marshal(v)
	return len(data)
}

// mapSize returns how many bytes the map of a run takes. What is the same in all runs is there
// once.
func mapSize(r page.Run) int {
	r.Cards, r.Stages = nil, nil
	return sizeOf(r)
}

// isWrong reports whether something of a run is wrong.
func isWrong(r *page.Run) bool {
	return strings.ContainsAny(string(r.Marks), string(page.MarkWrong)+string(page.MarkUnused)) || len(r.Layers) > 0 &&
		strings.ContainsAny(string(r.Layers[0].Status), string([]byte{page.StatusFail, page.StatusCheck, page.StatusShape, page.StatusNonfinite}))
}

// fitMaps makes maps smaller, or leaves them out where there is no room for a few steps. Those
// of runs in which something is wrong come first, and each has its share of the room.
func fitMaps(p *page.Page) {
	room, total := mapBytes, 0
	for i := range p.Runs {
		total += mapSize(p.Runs[i])
	}
	if total <= room {
		return
	}
	var order [2][]int
	for i := range p.Runs {
		kind := 1
		if isWrong(&p.Runs[i]) {
			kind = 0
		}
		order[kind] = append(order[kind], i)
	}
	kept, steps := map[int]bool{}, 0
	for kind, runs := range order {
		for k, i := range runs {
			share := min(room, max(leastBytes, room/(len(runs)-k)))
			small, moved := smaller(p.Runs[i], share)
			n := mapSize(small)
			if n > share {
				continue
			}
			room, kept[i] = room-n, true
			steps += len(p.Runs[i].Steps) - len(small.Steps)
			for f := range p.Findings {
				if at := &p.Findings[f]; at.Run == i && at.Cell >= 0 {
					at.Cell = moved(at.Cell)
				}
			}
			p.Runs[i] = small
		}
		out := 0
		for _, i := range runs {
			if !kept[i] {
				out++
			}
		}
		of := []string{" in which something is wrong", " that are right"}[kind]
		leave(p, out, "map of the cases"+of, "maps of cases"+of)
	}
	leave(p, steps, "step of a map", "steps of maps")
	var runs []page.Run
	place := map[int]int{}
	for i := range p.Runs {
		if kept[i] {
			place[i], runs = len(runs), append(runs, p.Runs[i])
		}
	}
	p.Runs = runs
	for f := range p.Findings {
		at := &p.Findings[f]
		if _, ok := place[at.Run]; !ok {
			at.Cell = -1
		}
		at.Run = place[at.Run]
	}
}

// smaller returns a run that takes about so many bytes, if it can: without the layers of single
// engines, then with fewer steps, those before others in which something is wrong. moved
// returns the place of a cell in it, -1 if it has none.
func smaller(r page.Run, bytes int) (small page.Run, moved func(cell int) int) {
	moved = func(cell int) int { return cell }
	if mapSize(r) <= bytes {
		return r, moved
	}
	r.Layers = slices.Clone(r.Layers)
	r.Layers = slices.DeleteFunc(r.Layers, func(l page.Layer) bool { return !l.Replay && l.Name != r.Layers[0].Name })
	size, n := mapSize(r), len(r.Stages)
	if size <= bytes || n == 0 {
		return r, moved
	}
	keep := []int{r.Start / n}
	for _, wrong := range []bool{true, false} {
		for s := range r.Steps {
			if len(keep) < bytes*len(r.Steps)/size && !slices.Contains(keep, s) && wrong == isWrong(&page.Run{
				Marks: r.Marks[s*n:][:n], Layers: []page.Layer{{Status: r.Layers[0].Status[s*n:][:n]}}}) {
				keep = append(keep, s)
			}
		}
	}
	slices.Sort(keep)
	return only(r, keep)
}

// only returns a run with some of its steps, and where a cell is in it, -1 for none.
func only(r page.Run, steps []int) (page.Run, func(cell int) int) {
	n := len(r.Stages)
	moved := func(cell int) int {
		if s := slices.Index(steps, cell/n); s >= 0 {
			return s*n + cell%n
		}
		return -1
	}
	r.Marks, r.Accepted = page.Cells(ofSteps([]byte(r.Marks), n, steps)), page.Cells(ofSteps([]byte(r.Accepted), n, steps))
	r.Grown = ofSteps(r.Grown, n, steps)
	layers := slices.Clone(r.Layers)
	for i := range layers {
		l := &layers[i]
		l.Status, l.Bound = page.Cells(ofSteps([]byte(l.Status), n, steps)), ofSteps(l.Bound, n, steps)
		l.Share, l.Error = ofSteps(l.Share, n, steps), ofSteps(l.Error, n, steps)
	}
	r.Layers = layers
	r.Steps = ofSteps(r.Steps, 1, steps)
	r.Start = moved(r.Start)
	var cards []page.Card
	for _, c := range r.Cards {
		if c.Cell = moved(c.Cell); c.Cell < 0 {
			continue
		}
		var inputs []page.Input
		for _, in := range c.Inputs {
			if in.Cell = moved(in.Cell); in.Cell >= 0 {
				inputs = append(inputs, in)
			}
		}
		c.Inputs = inputs
		cards = append(cards, c)
	}
	r.Cards = cards
	return r, moved
}

// ofSteps returns what a list that has n of each step has of some.
func ofSteps[T any](list []T, n int, steps []int) (some []T) {
	for _, s := range steps {
		if len(list) > 0 {
			some = append(some, list[s*n:][:n]...)
		}
	}
	return some
}

// fitCards leaves out cards, the last of the run that has most, until the data of the page are
// small enough: first of runs that are right. The first card of a run in which something is
// wrong stays.
func fitCards(p *page.Page) {
	total, most := 0, 0
	sizes := make([][]int, len(p.Runs))
	for i := range p.Runs {
		total, most = total+mapSize(p.Runs[i]), max(most, sizeOf(p.Runs[i].Stages))
		for _, c := range p.Runs[i].Cards {
			n := sizeOf(c)
			sizes[i], total = append(sizes[i], n), total+n
		}
	}
	for total += most; total > pageBytes; {
		at := -1
		for i := range sizes {
			worth := func(i int) int { // of leaving out
				n := len(sizes[i])
				if n > 0 && !isWrong(&p.Runs[i]) {
					return 1000 + n
				}
				return n - 1
			}
			if n := worth(i); n > 0 && (at < 0 || n > worth(at)) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		last := len(sizes[at]) - 1
		total -= sizes[at][last]
		sizes[at], p.Runs[at].Cards = sizes[at][:last], p.Runs[at].Cards[:last]
	}
}
