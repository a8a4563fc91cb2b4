// Forward kinematics with pinocchio, compiled from its headers alone: `forward CHAIN CONFIGURATIONS` prints one
// line per measurement, its name and the least ns per call over the batch. CPU time; the clock stays outside a
// pass. No compiled library is linked: those in the wheel are built for another vector width.
//
// CHAIN has one line per joint, base first: `fixed|revolute|prismatic x y z roll pitch yaw axis_x axis_y axis_z`.
// CONFIGURATIONS has one line per configuration.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <pinocchio/algorithm/frames.hpp>
#include <pinocchio/algorithm/jacobian.hpp>
#include <pinocchio/algorithm/kinematics.hpp>
#include <pinocchio/math.hpp>
#include <pinocchio/multibody.hpp>

using pinocchio::SE3;
using Vector = Eigen::Vector3d;

static double now_ns() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) * 1e9 + double(time.tv_nsec);
}

template <typename Call>
static void measure(const char* name, const std::vector<Eigen::VectorXd>& batch, Call call) {
  double least = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < 1000; ++pass) {
    const double begin = now_ns();
    for (const auto& q : batch) call(q);
    least = std::min(least, (now_ns() - begin) / double(batch.size()));
  }
  std::printf("%s %.2f\n", name, least);
}

// The joint model that pinocchio's own URDF reader would choose: the plain axes have faster ones.
static pinocchio::JointModel joint_model(const std::string& kind, const Vector& axis) {
  if (kind == "prismatic") return pinocchio::JointModelPrismaticUnaligned(axis);
  if (axis == Vector::UnitX()) return pinocchio::JointModelRX();
  if (axis == Vector::UnitY()) return pinocchio::JointModelRY();
  if (axis == Vector::UnitZ()) return pinocchio::JointModelRZ();
  return pinocchio::JointModelRevoluteUnaligned(axis);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  pinocchio::Model model;
  pinocchio::JointIndex parent = 0;
  SE3 pending = SE3::Identity();
  std::ifstream chain(argv[1]);
  std::string kind;
  Vector xyz, rpy, axis;
  while (chain >> kind >> xyz[0] >> xyz[1] >> xyz[2] >> rpy[0] >> rpy[1] >> rpy[2] >> axis[0] >> axis[1] >> axis[2]) {
    pending = pending * SE3(pinocchio::rpy::rpyToMatrix(rpy), xyz);
    if (kind == "fixed") continue;
    parent = model.addJoint(parent, joint_model(kind, axis), pending, "joint" + std::to_string(parent));
    pending = SE3::Identity();
  }
  const auto tip = model.addFrame(pinocchio::Frame("tip", parent, 0, pending, pinocchio::OP_FRAME));
  pinocchio::Data data(model);
  std::vector<Eigen::VectorXd> batch;
  std::ifstream configurations(argv[2]);
  Eigen::VectorXd q(model.nq);
  for (int at = 0; configurations >> q[at];) {
    if (++at == model.nq) {
      batch.push_back(q);
      at = 0;
    }
  }
  pinocchio::Data::Matrix6x jacobian(6, model.nv);
  volatile double sink = 0.0;  // so that nothing is optimised away
  // The last pose, to compare with the judge's.
  const auto print_pose = [&] {
    pinocchio::forwardKinematics(model, data, batch.back());
    const Vector position = pinocchio::updateFramePlacement(model, data, tip).translation();
    std::printf("position %.12f %.12f %.12f\n", position[0], position[1], position[2]);
  };
  print_pose();
  measure("pose", batch, [&](const Eigen::VectorXd& q) {
    pinocchio::forwardKinematics(model, data, q);
    sink = pinocchio::updateFramePlacement(model, data, tip).translation()[0];
  });
  measure("jacobian: computeFrameJacobian, LOCAL", batch, [&](const Eigen::VectorXd& q) {
    jacobian.setZero();
    pinocchio::computeFrameJacobian(model, data, q, tip, pinocchio::LOCAL, jacobian);
    pinocchio::updateFramePlacement(model, data, tip);
    sink = jacobian(0, 0);
  });
  measure("jacobian: computeJointJacobians, LOCAL_WORLD_ALIGNED", batch, [&](const Eigen::VectorXd& q) {
    pinocchio::computeJointJacobians(model, data, q);
    pinocchio::updateFramePlacement(model, data, tip);
    jacobian.setZero();
    pinocchio::getFrameJacobian(model, data, tip, pinocchio::LOCAL_WORLD_ALIGNED, jacobian);
    sink = jacobian(0, 0);
  });
}
