#!/bin/bash
# A batch on Slurm: sbatch slurm.sh. Ray starts on every node, the command runs on the first. Ray 2.49 or newer.
#SBATCH --job-name=s3im
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4      # leave out for CPU nodes
#SBATCH --time=04:00:00
#SBATCH --no-kill              # the job continues when a node fails
#SBATCH --requeue              # and starts again after preemption; --resume does the rest

cd "$SLURM_SUBMIT_DIR"         # on the shared file system
source venv/bin/activate
export RAY_USAGE_STATS_ENABLED=0
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | cut -d ' ' -f 1):6379
srun --no-kill --kill-on-bad-exit=0 ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --include-dashboard=false -- \
    s3im fuse --pairs pairs.csv -o fused --engine ray --ray-address auto --resume
