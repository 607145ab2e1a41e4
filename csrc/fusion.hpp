// Two gentler ways than NMS to merge boxes: Soft-NMS lowers scores, fusion averages boxes.
#pragma once

#include "overlaps.hpp"
#include "tree.hpp"

namespace kernels {

struct Decay {
    bool is_gaussian;
    float iou_threshold;  // of the linear decay
    float sigma;          // of the Gaussian one
    float score_threshold;
};

// Soft-NMS (Bodla et al. 2017): takes the best box, lowers the scores of those it overlaps, and so on, until `limit`
// boxes are taken.
// labels (count) or null -> keep, new_scores (count), of which the first `result` are set
inline int64_t soft_nms(const float* boxes, const float* scores, const int64_t* labels, int64_t count,
                        const Decay& decay, int64_t limit, int64_t* keep, float* new_scores) {
    constexpr float gone = -std::numeric_limits<float>::infinity();
    const Columns<float> all(boxes, count);
    std::vector<float> left(count), overlaps(count);
    for (int64_t i = 0; i < count; ++i) {
        const bool is_valid = is_finite(boxes + 4 * i) && scores[i] - scores[i] == 0;
        left[i] = is_valid && scores[i] > decay.score_threshold ? scores[i] : gone;
    }
    const float least = decay.is_gaussian ? 0 : decay.iou_threshold;
    for (int64_t found = 0;; ++found) {
        if (found == limit) return found;
        // the first of equal ones
        const int64_t best = std::max_element(left.begin(), left.end()) - left.begin();
        if (best == count || left[best] == gone) return found;
        keep[found] = best, new_scores[found] = left[best];
        left[best] = gone;
        fill_row<Mode::iou>(all, best, all, 0.0f, overlaps.data());
        for (int64_t i = 0; i < count; ++i) {
            const float iou = overlaps[i];
            if (!(iou > least) || left[i] == gone || (labels && labels[i] != labels[best])) continue;
            // The exponential in double: rounded to float it is the same wherever it is computed.
            left[i] *= decay.is_gaussian ? float(std::exp(-double(iou) * iou / decay.sigma)) : 1 - iou;
            if (!(left[i] > decay.score_threshold)) left[i] = gone;
        }
    }
}

// Sums over the boxes of a cluster, by their weights.
struct Sums {
    double weight = 0, corners[4] = {};

    // mean (4): the weighted mean; it stays as it is while all weights are 0.
    void add(const float* box, float part, float* mean) {
        weight += part;
        for (int i = 0; i < 4; ++i) {
            corners[i] += double(part) * box[i];
            if (weight > 0) mean[i] = float(corners[i] / weight);
        }
    }
};

// The overlap of a box with the mean of a cluster: IoU, or the intersection over the smaller of the two areas.
template <bool over_smaller>
inline float cluster_overlap(const float* a, float bx1, float by1, float bx2, float by2) {
    const float area = area_of(a[0], a[1], a[2], a[3]), other = area_of(bx1, by1, bx2, by2);
    const float shared = intersection(a[0], a[1], a[2], a[3], bx1, by1, bx2, by2);
    return divide(shared, over_smaller ? std::min(area, other) : area + other - shared);
}

// The input and output of fuse_boxes. Until the end, members and fused are by the row of the founder.
struct Fusion {
    const float *boxes, *weights;
    const int64_t* sources;
    float threshold;
    int64_t* members;
    float* fused;
    bool has_long_sources;  // of more than 32 bits
    std::vector<Sums> sums;
    std::vector<uint32_t> place_of;  // a founder's, in the tree of its label

    Fusion(const float* boxes, const float* weights, const int64_t* sources, int64_t count, float threshold,
           int64_t* members, float* fused)
        : boxes(boxes), weights(weights), sources(sources), threshold(threshold), members(members), fused(fused),
          has_long_sources(std::any_of(sources, sources + count, [](int64_t s) { return s != int32_t(s); })),
          sums(count), place_of(count) {}
};

// The tree of a label's clusters, each tagged with the lower bits of its source, and the founder at each place.
struct Founders {
    Tree tree;
    std::vector<uint32_t> rows;

    explicit Founders(size_t count) : tree(count), rows(tree.size()) {}
};

// The founder of the cluster that the box of a row joins, or -1.
template <bool over_smaller>
int64_t nearest_founder(const Fusion& fusion, const Founders& founders, int64_t row) {
    const float* box = fusion.boxes + 4 * row;
    const int64_t source = fusion.sources[row];
    const int32_t tag = int32_t(source);
    const int is_unsure = fusion.has_long_sources;  // so that sources differ though their tags do not
    float most = fusion.threshold;
    int64_t best = -1;
    founders.tree.visit(box, [&](const Tree::Leaf& leaf, size_t first) {
        int may_join = is_unsure, any = 0;
        for (int i = 0; i < Tree::width; ++i) may_join |= leaf.tags[i] != tag;
        if (!may_join) return;
        float overlaps[Tree::width];
        const int has_best = best >= 0;
        for (int i = 0; i < Tree::width; ++i) {
            const float overlap =
                cluster_overlap<over_smaller>(box, leaf.x1[i], leaf.y1[i], leaf.x2[i], leaf.y2[i]);
            overlaps[i] = overlap;
            any |= ((overlap > most) | (has_best & (overlap == most))) & (is_unsure | (leaf.tags[i] != tag));
        }
        for (int i = 0; any && i < Tree::width; ++i) {
            if (!(overlaps[i] >= most)) continue;
            const int64_t founder = founders.rows[first + i];
            if ((overlaps[i] > most || founder < best) && fusion.sources[founder] != source)
                most = overlaps[i], best = founder;
        }
    });
    return best;
}

// Fuses the boxes of some rows, all of one label, in their order. From `sort_from` rows on, the tree is sorted.
template <bool over_smaller>
void fuse_rows(Fusion& fusion, const std::vector<uint32_t>& rows, size_t sort_from) {
    Founders founders(rows.size());
    const auto take = [&](size_t place, uint32_t row) {
        founders.rows[place] = row, fusion.place_of[row] = uint32_t(place);
    };
    const bool is_sorted = rows.size() >= sort_from;
    if (is_sorted) {
        std::vector<uint32_t> sorted(rows);
        sort_by_place(fusion.boxes, sorted);
        for (size_t place = 0; place < sorted.size(); ++place) take(place, sorted[place]);
    }
    size_t found = 0;
    for (const uint32_t row : rows) {
        const float* box = fusion.boxes + 4 * size_t(row);
        int64_t founder = nearest_founder<over_smaller>(fusion, founders, row);
        if (founder < 0) {
            if (!is_sorted) take(found++, row);
            founder = row;
            std::copy_n(box, 4, fusion.fused + 4 * founder);
        }
        fusion.members[row] = founder;
        float* mean = fusion.fused + 4 * founder;
        fusion.sums[founder].add(box, fusion.weights[row], mean);
        if (founder == row || fusion.weights[row] != 0)
            founders.tree.put(fusion.place_of[founder], mean, int32_t(fusion.sources[founder]));
    }
}

// Numbers the clusters by their founders; how many there are.
inline int64_t number_clusters(int64_t count, int64_t* members, int64_t* founders, float* fused) {
    int64_t found = 0;
    for (int64_t i = 0; i < count; ++i) {
        if (members[i] == i) {
            founders[found] = i;
            for (int k = 0; k < 4; ++k) fused[4 * found + k] = fused[4 * i + k];
            members[i] = found++;
        } else if (members[i] >= 0) {
            members[i] = members[members[i]];
        }
    }
    return found;
}

// Each box, in the order given, joins the cluster of its label and of another source that it overlaps most, if by
// more than the threshold; of equal ones the older. Else it founds one. boxes (count, 4), weights, labels and
// sources (count) -> members (count): each one's cluster, or -1 if it is not finite; founders (count) and fused
// (count, 4): of each cluster, of which the first `result` are set
inline int64_t fuse_boxes(const float* boxes, const float* weights, const int64_t* labels, const int64_t* sources,
                          int64_t count, float threshold, bool over_smaller, size_t sort_from, int64_t* members,
                          int64_t* founders, float* fused) {
    std::vector<uint32_t> rows;
    rows.reserve(count);
    for (int64_t i = 0; i < count; ++i) {
        members[i] = -1;
        if (is_finite(boxes + 4 * i)) rows.push_back(uint32_t(i));
    }
    std::stable_sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) { return labels[a] < labels[b]; });
    Fusion fusion(boxes, weights, sources, count, threshold, members, fused);
    for (auto begin = rows.begin(), end = begin; begin != rows.end(); begin = end) {
        while (end != rows.end() && labels[*end] == labels[*begin]) ++end;
        const std::vector<uint32_t> of_label(begin, end);
        if (over_smaller)
            fuse_rows<true>(fusion, of_label, sort_from);
        else
            fuse_rows<false>(fusion, of_label, sort_from);
    }
    return number_clusters(count, members, founders, fused);
}

}  // namespace kernels
