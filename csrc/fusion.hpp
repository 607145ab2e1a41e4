// Two gentler ways than NMS to merge boxes: Soft-NMS lowers scores, fusion averages boxes.
#pragma once

#include "overlaps.hpp"

namespace kernels {

struct Decay {
    bool is_gaussian;
    float iou_threshold;  // of the linear decay
    float sigma;          // of the Gaussian one
    float score_threshold;
};

// Soft-NMS (Bodla et al. 2017): takes the best box, lowers the scores of those it overlaps, and so on.
// labels (count) or null -> keep, new_scores (count), of which the first `result` are set
inline int64_t soft_nms(const float* boxes, const float* scores, const int64_t* labels, int64_t count,
                        const Decay& decay, int64_t* keep, float* new_scores) {
    constexpr float gone = -std::numeric_limits<float>::infinity();
    const Columns<float> all(boxes, count);
    std::vector<float> left(count), overlaps(count);
    for (int64_t i = 0; i < count; ++i) {
        const bool is_valid = is_finite(boxes + 4 * i) && scores[i] - scores[i] == 0;
        left[i] = is_valid && scores[i] > decay.score_threshold ? scores[i] : gone;
    }
    const float limit = decay.is_gaussian ? 0 : decay.iou_threshold;
    for (int64_t found = 0;; ++found) {
        // the first of equal ones
        const int64_t best = std::max_element(left.begin(), left.end()) - left.begin();
        if (best == count || left[best] == gone) return found;
        keep[found] = best, new_scores[found] = left[best];
        left[best] = gone;
        fill_row<Mode::iou>(all, best, all, 0.0f, overlaps.data());
        for (int64_t i = 0; i < count; ++i) {
            const float iou = overlaps[i];
            if (!(iou > limit) || left[i] == gone || (labels && labels[i] != labels[best])) continue;
            // The exponential in double: rounded to float it is the same wherever it is computed.
            left[i] *= decay.is_gaussian ? float(std::exp(-double(iou) * iou / decay.sigma)) : 1 - iou;
            if (!(left[i] > decay.score_threshold)) left[i] = gone;
        }
    }
}

// Boxes that are taken for one object, and sums over them, by their weights.
struct Cluster {
    int64_t label, source;  // of the box that founded it
    double weight = 0, sums[4] = {};
    float box[4];  // the weighted mean; the founder's box while all weights are 0

    void add(const float* corners, float part) {
        weight += part;
        for (int i = 0; i < 4; ++i) {
            sums[i] += double(part) * corners[i];
            if (weight > 0) box[i] = float(sums[i] / weight);
        }
    }
};

// The overlap of a box with the mean of a cluster: IoU, or the intersection over the smaller of the two areas.
inline float cluster_overlap(const float* a, const float* b, bool over_smaller) {
    const float area = area_of(a[0], a[1], a[2], a[3]), other = area_of(b[0], b[1], b[2], b[3]);
    const float shared = intersection(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]);
    return divide(shared, over_smaller ? std::min(area, other) : area + other - shared);
}

// Each box, in the order given, joins the cluster of its label and of another source that it overlaps most, if by
// more than the threshold; of equal ones the older. Else it founds one. boxes (count, 4), weights, labels and
// sources (count) -> members (count): each one's cluster, or -1 if it is not finite; founders (count) and fused
// (count, 4): of each cluster, of which the first `result` are set
inline int64_t fuse_boxes(const float* boxes, const float* weights, const int64_t* labels, const int64_t* sources,
                          int64_t count, float threshold, bool over_smaller, int64_t* members,
                          int64_t* founders, float* fused) {
    std::vector<Cluster> clusters;
    for (int64_t i = 0; i < count; ++i) {
        const float* box = boxes + 4 * i;
        members[i] = -1;
        if (!is_finite(box)) continue;
        float most = threshold;
        for (size_t k = 0; k < clusters.size(); ++k) {
            if (clusters[k].label != labels[i] || clusters[k].source == sources[i]) continue;
            const float overlap = cluster_overlap(box, clusters[k].box, over_smaller);
            if (overlap > most) most = overlap, members[i] = int64_t(k);
        }
        if (members[i] < 0) {
            members[i] = int64_t(clusters.size());
            founders[members[i]] = i;
            clusters.push_back({labels[i], sources[i]});
            std::copy_n(box, 4, clusters.back().box);
        }
        clusters[members[i]].add(box, weights[i]);
    }
    for (size_t k = 0; k < clusters.size(); ++k) std::copy_n(clusters[k].box, 4, fused + 4 * k);
    return int64_t(clusters.size());
}

}  // namespace kernels
