"""The operations a stranger's graph may hold.

The list says what may be there, not what may not. Beside the operations that are read stand those that train, draw
random numbers, save and restore: they are part of honest files, nothing of an answer hangs on them, and they are never
run here. Whatever opens files by a name of its own, calls out, prints or runs code is on no list.
"""

from __future__ import annotations

from engram.formats._tensorflow.trace import KNOWN

__all__ = ["ALLOWED"]

_GRADIENTS = """
AvgPool3DGrad AvgPoolGrad BiasAddGrad BroadcastGradientArgs ConcatOffset Conv2DBackpropFilter Conv3DBackpropFilterV2
DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput DynamicStitch EluGrad FusedBatchNormGrad
FusedBatchNormGradV2 FusedBatchNormGradV3 LRNGrad LeakyReluGrad MaxPool3DGrad MaxPoolGrad MaxPoolGradGrad
MirrorPadGrad ReciprocalGrad Relu6Grad ReluGrad ResizeBilinearGrad ResizeNearestNeighborGrad RsqrtGrad SeluGrad
SigmoidCrossEntropyWithLogits SigmoidGrad SoftmaxCrossEntropyWithLogits SoftplusGrad SoftsignGrad
SparseSoftmaxCrossEntropyWithLogits SqrtGrad StridedSliceGrad SymbolicGradient TanhGrad UnsortedSegmentSum
"""
_TRAINING = """
ApplyAdam ApplyGradientDescent ApplyMomentum Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp
AssignVariableOp DestroyResourceOp DisableCopyOnRead IsVariableInitialized ResourceApplyAdaMax ResourceApplyAdadelta
ResourceApplyAdagrad ResourceApplyAdagradV2 ResourceApplyAdam ResourceApplyCenteredRMSProp ResourceApplyFtrl
ResourceApplyFtrlV2 ResourceApplyGradientDescent ResourceApplyKerasMomentum ResourceApplyMomentum ResourceApplyRMSProp
ResourceScatterAdd ResourceScatterUpdate ResourceSparseApplyAdagradV2 ResourceSparseApplyKerasMomentum ScatterAdd
ScatterSub ScatterUpdate VarIsInitializedOp
"""
_RANDOM = """
Multinomial ParameterizedTruncatedNormal RandomGamma RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt
RngReadAndSkip StatefulStandardNormalV2 StatefulUniform StatelessMultinomial StatelessRandomGetAlg
StatelessRandomGetKeyCounter StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
StatelessRandomUniformFullInt StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
_SAVING = """
MergeV2Checkpoints Restore RestoreSlice RestoreV2 Save SaveSlices SaveV2 ShardedFilename ShardedFilespec
StaticRegexFullMatch StringJoin
"""
_RECURRENT = """
CudnnRNN CudnnRNNV2 CudnnRNNV3 CudnnRNNBackprop CudnnRNNBackpropV2 CudnnRNNBackpropV3 CudnnRNNCanonicalToParams
CudnnRNNCanonicalToParamsV2 CudnnRNNParamsSize CudnnRNNParamsToCanonical
"""
_PLAIN = """
AsString Assert Bincount Bucketize ControlTrigger Cumprod Digamma DynamicPartition EmptyTensorList Enter Erfinv Exit
ExtractImagePatches Igamma InTopKV2 InitializeTableV2 L2Normalize Lgamma LinSpace LookupTableExportV2
LookupTableImportV2 LookupTableInsertV2 LookupTableSizeV2 LoopCond Merge MutexLock Ndtri NextAfter NextIteration
NonMaxSuppressionV3 ParallelConcat Placeholder Polygamma SegmentSum StringLower StringStrip StringToHashBucketFast
StringToNumber StringUpper Switch TensorListConcatV2 TensorListElementShape TensorListGather TensorListPopBack
TensorListPushBack TensorListResize TensorListScatterIntoExistingList TensorListSplit Unique UniqueV2 Zeta _Arg
_Retval
"""

ALLOWED = KNOWN | frozenset(
    word for text in (_GRADIENTS, _TRAINING, _RANDOM, _SAVING, _RECURRENT, _PLAIN) for word in text.split()
)
